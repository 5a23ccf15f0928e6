"""`innosystem charge-keys`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from tools.cli.output import TABLE, Column, Columns, Output, print_list
from tools.errors import CommandError

if TYPE_CHECKING:
    from services.kit.charges.keys import Key

app = App(name="charge-keys", help="Make and rotate the keys by which services vouch for charges.")

File = Annotated[Path, Parameter(name="FILE", help="The file of INNOSYSTEM_CHARGE_KEYS_FILE.")]
KeyId = Annotated[str, Parameter(name="ID", help="The ID of the key.")]

_HEADER: Final = "# Keys of charge tokens and receipts, secret. The first signs, all verify.\n"
_PRIVATE: Final = 0o600


def _signs(one: dict[str, Any], _now: Any) -> str:
    return "signs, verifies" if one["signs"] else "verifies"


_COLUMNS: Final = Columns((Column("id", lambda one, _: str(one["id"])), Column("use", _signs)), name="id")


@app.command
def create(file: File, /, *, key_id: Annotated[str, Parameter(name="--id", show_default=False)] = "") -> None:
    """Make a key: in a new file that only its owner may read, or as the last key of a file that there is.

    Args:
        key_id: The ID of the key, 1 to 16 of a-z, 0-9 and `-`; by default the date and four random letters.
    """
    from datetime import UTC, datetime
    from secrets import token_hex

    from services.kit.charges.keys import new_key

    try:
        key = new_key(key_id or f"{datetime.now(UTC):%Y%m%d}-{token_hex(2)}")
    except ValueError:
        raise CommandError("--id has to be 1 to 16 of a-z, 0-9 and -") from None
    known = _read(file) if file.exists() else []
    if key.id in [one.id for one in known]:
        raise CommandError(f"{file} has a key {key.id} already: choose another ID")
    _write(file, [*known, key])
    print(key.id)


@app.command(name="list")
def list_(file: File, /, *, output: Output = TABLE) -> None:
    """List the keys of a file, without their secrets."""
    keys = [{"id": key.id, "signs": number == 0} for number, key in enumerate(_read(file))]
    print_list(keys, _COLUMNS, output, nothing="No keys found.")


@app.command
def promote(file: File, key_id: KeyId, /) -> None:
    """Let a key sign that so far only verifies: every service has to know it before."""
    keys = _read(file)
    chosen = _named(keys, key_id, file)
    _write(file, [chosen, *(key for key in keys if key is not chosen)])


@app.command
def remove(file: File, key_id: KeyId, /) -> None:
    """Remove a key that verifies: an hour after it has signed last, when no token of it is valid any more."""
    keys = _read(file)
    chosen = _named(keys, key_id, file)
    if chosen is keys[0]:
        raise CommandError(f"{key_id} signs: promote another key first, and wait an hour")
    _write(file, [key for key in keys if key is not chosen])


def _named(keys: "Sequence[Key]", key_id: str, file: Path) -> "Key":
    for key in keys:
        if key.id == key_id:
            return key
    raise CommandError(f"{file} has no key {key_id}: it has {', '.join(key.id for key in keys)}")


def _read(file: Path) -> "list[Key]":
    from services.kit.charges.keys import KeyRing

    try:
        return list(KeyRing.parse(file.read_text(encoding="utf-8")).keys)
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{file}: {error}") from None


def _write(file: Path, keys: "Sequence[Key]") -> None:
    """Replace the file in one step: a service that reads it finds the keys before or after, and never half of them."""
    import os

    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else _PRIVATE
        new.touch(mode=_PRIVATE)
        new.write_text(_HEADER + "".join(f"{key.line}\n" for key in keys), encoding="utf-8")
        new.chmod(mode)
        new.replace(file)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise CommandError(f"{file} can't be written: {error.strerror}") from None
