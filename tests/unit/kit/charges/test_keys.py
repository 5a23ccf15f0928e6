"""The keys of charge tokens: their text, their file, and their rotation."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.kit.charges import keys as keys_module
from services.kit.charges.keys import ChargeKeys, ChargeKeysError, Key, KeyRing, new_key
from services.kit.charges.vouchers import Charge, Vouchers
from tests.support.until import until
from tests.unit.kit.charges.test_vouchers import CHARGE, NOW

# The same in each worker, as they are in the names of tests.
FIRST, SECOND, OTHER = (Key(name, name.encode().ljust(32)) for name in ("first", "second", "other"))


def write(file: Path, *keys: Key) -> None:
    file.write_text("".join(f"{key.line}\n" for key in keys), encoding="utf-8")


def _break(file: Path, text: str | None) -> None:
    """Replace the file by one with a text, or by none."""
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")


def _spoil(file: Path) -> None:
    file.write_text("half a ke", encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(path := tmp_path / "charge-keys", FIRST)
    return path


def test_the_first_key_of_a_text_signs_and_comments_and_empty_lines_are_none() -> None:
    ring = KeyRing.parse(f"# keys\n\n{FIRST.line}  # since may\n  {SECOND.line}\n")
    assert (ring.ids, ring.signing) == (["first", "second"], FIRST)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no key"),
        ("# only a comment", "there is no key"),
        (FIRST.line[:-1], "line 1 is not ID:SECRET"),
        (f"{FIRST.line}0", "line 1 is not ID:SECRET"),
        (f"\nFirst:{FIRST.secret.hex()}", "line 2 is not ID:SECRET"),
        (f"seventeen-letters:{FIRST.secret.hex()}", "line 1 is not ID:SECRET"),
        (f":{FIRST.secret.hex()}", "line 1 is not ID:SECRET"),
        (f"{FIRST.line}\nfirst:{OTHER.secret.hex()}", "line 2 has the ID of a line before"),
    ],
)
def test_a_text_that_holds_no_keys_is_refused_without_repeating_it(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        KeyRing.parse(text)
    assert FIRST.secret.hex()[:8] not in str(refused.value)


def test_a_secret_is_in_no_representation() -> None:
    assert FIRST.secret.hex() not in repr(FIRST)
    assert repr(FIRST.secret) not in repr(FIRST)


def test_two_new_keys_have_different_secrets() -> None:
    assert new_key("a").secret != new_key("a").secret


def test_keys_in_the_environment_are_separated_by_spaces() -> None:
    assert ChargeKeys(f"{FIRST.line} {SECOND.line}").ring.ids == ["first", "second"]


def test_without_keys_nothing_signs_and_nothing_is_read_again() -> None:
    keys = ChargeKeys()
    assert (keys().signing, keys.loops) == (None, [])


def test_keys_of_a_text_are_not_read_again() -> None:
    assert ChargeKeys(FIRST.line).loops == []


def test_a_service_does_not_start_without_the_keys_that_it_was_to_have(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ChargeKeysError, match=r"INNOSYSTEM_CHARGE_KEYS_FILE: .*absent can't be read: No such file"):
        ChargeKeys(file=str(tmp_path / "absent"))
    with pytest.raises(ChargeKeysError, match="are both set"):
        ChargeKeys(FIRST.line, str(file))
    with pytest.raises(ChargeKeysError, match="INNOSYSTEM_CHARGE_KEYS: line 1 is not"):
        ChargeKeys("nonsense")
    file.write_bytes(b"\xff")
    with pytest.raises(ChargeKeysError, match="it is no text in UTF-8"):
        ChargeKeys(file=str(file))


async def test_a_file_that_has_changed_is_in_force_after_the_next_reading(file: Path) -> None:
    keys = ChargeKeys(file=str(file))
    write(file, SECOND, FIRST)
    await keys.refresh()
    assert keys().ids == ["second", "first"]


async def test_a_file_that_can_not_be_read_any_more_leaves_the_keys_in_force_loudly(file: Path) -> None:
    keys = ChargeKeys(file=str(file))
    _spoil(file)
    [loop] = keys.loops
    with capture_logs() as logs:
        task = asyncio.create_task(loop.run())
        try:
            await until(
                lambda: REGISTRY.get_sample_value("innosystem_background_failing", {"loop": "charge keys"}) == 1
            )
            assert keys().ids == ["first"]
            write(file, SECOND)
            await until(lambda: keys().ids == ["second"])
        finally:
            task.cancel()
    failing = [one for one in logs if one["event"] == "background_work_failing"]
    assert failing[0]["log_level"] == "error"
    assert "line 1 is not ID:SECRET" in failing[0]["error"]


@pytest.mark.parametrize("broken", ["half a ke", "", None], ids=["a broken file", "an emptied file", "no file"])
async def test_keys_that_can_not_be_read_again_are_given_up_after_a_day_until_the_file_is_back(
    file: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    seconds = 0.0
    monkeypatch.setattr(keys_module, "monotonic", lambda: seconds)
    keys = ChargeKeys(file=str(file))
    seconds = 1000.0
    await keys.refresh()
    _break(file, broken)
    for seconds, ids in ((87_399.0, ["first"]), (87_400.0, []), (90_000.0, [])):
        with capture_logs() as logs, pytest.raises(ChargeKeysError):
            await keys.refresh()
        assert keys().ids == ids
        given_up = [one["key_ids"] for one in logs if one["event"] == "charge_keys_given_up"]
        assert given_up == ([["first"]] if seconds == 87_400 else [])
    write(file, FIRST)
    await keys.refresh()
    assert keys().ids == ["first"]


async def test_keys_rotate_under_load_without_a_refused_charge(tmp_path: Path) -> None:
    """Each service reads its own copy, at its own moment: in any order within a step, all is well."""
    jobs_file, wallets_file = tmp_path / "jobs", tmp_path / "wallets"
    for path in (jobs_file, wallets_file):
        write(path, FIRST)
    jobs_keys, wallets_keys = (ChargeKeys(file=str(path)) for path in (jobs_file, wallets_file))
    jobs, wallets = (Vouchers(keys, lambda: NOW) for keys in (jobs_keys, wallets_keys))
    in_flight: list[tuple[Charge, bytes, bytes]] = []
    by_key: list[str | None] = []

    def load() -> None:
        """Charge with a token of now and with one of the step before, and settle both."""
        token = jobs.charge_tokens()(CHARGE)
        receipt = wallets.receipt(CHARGE.customer_id, CHARGE.job_id, 5)
        for charge, some_token, some_receipt in (*in_flight, (CHARGE, token, receipt)):
            by_key.append(wallets.authorising_key(charge, some_token))
            assert by_key[-1] is not None
            assert jobs.amount_charged(some_receipt, CHARGE.customer_id, CHARGE.job_id) == 5
        in_flight[:] = [(CHARGE, token, receipt)]

    load()
    for step in ((FIRST, SECOND), (SECOND, FIRST)):
        for path, keys in ((wallets_file, wallets_keys), (jobs_file, jobs_keys)):
            write(path, *step)
            await keys.refresh()
            load()
    # What the first key has signed is over, after the life of a token: `load` keeps only what is of now.
    load()
    for path, keys in ((jobs_file, jobs_keys), (wallets_file, wallets_keys)):
        write(path, SECOND)
        await keys.refresh()
        load()
    assert by_key[0] == "first"
    assert by_key[-1] == "second"
