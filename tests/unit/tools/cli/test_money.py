"""Numbers and amounts that are typed: taken exactly, or refused with what to type instead."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from cyclopts import App, Parameter

from tools.cli.__main__ import command_line, main
from tools.cli.money import Money, amount_of, read_money
from tools.errors import CommandError


@pytest.mark.parametrize(
    ("typed", "cents", "currency"),
    [
        ("7.50EUR", 750, "EUR"),
        ("7.5EUR", 750, "EUR"),
        ("7EUR", 700, "EUR"),
        ("7.50 EUR", 750, "EUR"),
        ("0.01EUR", 1, "EUR"),
        ("500JPY", 500, "JPY"),
        ("0.500KWD", 500, "KWD"),
        ("92233720368547758.07EUR", 2**63 - 1, "EUR"),
    ],
)
def test_an_amount_is_read_exactly(typed: str, cents: int, currency: str) -> None:
    assert read_money(typed) == Money(cents, currency)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("7.50", "not an amount with its currency, such as 7.50EUR"),
        ("EUR", "not an amount with its currency"),
        ("7,50EUR", "not an amount with its currency"),
        ("1_000EUR", "not an amount with its currency"),
        ("1e3EUR", "not an amount with its currency"),
        (".5EUR", "not an amount with its currency"),
        ("-1EUR", "not an amount with its currency"),
        ("7.50eur", "not an amount with its currency"),
        ("7.50€", "not an amount with its currency"),
        ("\u0667EUR", "not an amount with its currency"),
        ("7.505EUR", "not exact: EUR has 2 decimals"),
        ("1.5JPY", "not exact: JPY has 0 decimals"),
        ("7.50XQZ", "XQZ is not a currency of ISO 4217"),
        ("92233720368547758.08EUR", "more than any wallet holds"),
    ],
)
def test_what_is_no_exact_amount_is_refused(typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_money(typed)


def test_an_amount_is_said_once_and_in_one_currency() -> None:
    amount = Money(500, "JPY")
    assert amount_of("--amount", amount, None, None) == amount_of("--amount", amount, None, "JPY") == amount
    assert amount_of("--amount", None, 0, None) == Money(0, "EUR")
    assert amount_of("--amount", None, 500, "JPY") == amount
    with pytest.raises(CommandError, match="--currency says EUR"):
        amount_of("--amount", amount, None, "EUR")
    for both, cents in ((amount, 5), (None, None)):
        with pytest.raises(CommandError, match=r"--amount 7\.50EUR, or --amount-cents 750"):
            amount_of("--amount", both, cents, None)


@pytest.mark.parametrize(
    "command",
    [
        "wallets credit --customer-id c --amount-cents",
        "wallets refund --job-id j --amount-cents",
        "job-types create --name f --processor-type SYNC --standard-cost-cents",
    ],
)
@pytest.mark.parametrize("typed", ["7.50", "0.4", "0.5", "7.0", "0x10", "1_000", "1e3", "", "\u0667", "seven"])
def test_cents_are_whole(command: str, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), typed]) == 2
    assert "is not a whole number of cents" in capsys.readouterr().err


def commands(app: App) -> Iterator[Callable[..., Any]]:
    """All functions that the command line calls."""
    if app.default_command is not None:
        yield app.default_command
    for name in app:
        if not name.startswith("-"):
            yield from commands(app[name])


def annotations(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type of a parameter without None, and what is noted beside it."""
    noted: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            noted += tuple(more)
        elif get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
            [hint] = [each for each in get_args(hint) if each is not type(None)]
        else:
            return hint, noted


def test_no_whole_number_of_any_command_is_rounded() -> None:
    found = []
    for command in commands(command_line(None)):
        hints = get_type_hints(command, include_extras=True)
        for name in inspect.signature(command).parameters:
            kind, noted = annotations(hints.get(name, str))
            if kind is int:
                strict = any(isinstance(each, Parameter) and each.converter for each in noted)
                found.append((f"{command.__module__}.{command.__name__} {name}", strict))
    assert len(found) > 15
    assert [name for name, strict in found if not strict] == []
