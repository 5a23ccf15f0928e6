"""The confirmation of commands that can't be undone."""

import io

import pytest

from tools.cli.confirmation import confirmed
from tools.errors import CommandError

PLAN = ["3 jobs are cancelled.", "0.15 EUR is free again."]


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """Pretend that a user is at the terminal."""
        return True


def test_the_plan_is_told_and_done_when_yes_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert confirmed(PLAN, yes=False, dry_run=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "3 jobs are cancelled.\n0.15 EUR is free again.\nContinue? Type yes: ")


@pytest.mark.parametrize("typed", ["", "\n", "no\n", "y\n", "yes please\n"])
def test_anything_but_yes_does_nothing(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    with pytest.raises(CommandError, match="nothing was done"):
        confirmed(PLAN, yes=False, dry_run=False)


def test_where_nobody_can_be_asked_it_takes_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with pytest.raises(CommandError, match="give --yes to do it"):
        confirmed(PLAN, yes=False, dry_run=False)
    assert confirmed(PLAN, yes=True, dry_run=False)


def test_a_dry_run_tells_the_plan_and_does_nothing_even_with_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert not confirmed(PLAN, yes=True, dry_run=True)
    assert capsys.readouterr().err == "3 jobs are cancelled.\n0.15 EUR is free again.\nNothing was done: --dry-run.\n"
