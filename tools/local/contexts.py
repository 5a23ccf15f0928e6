"""Contexts: platforms by name, in a file of the user.

A context of a stack (`innosystem up`) holds only the stack's folder: while the stack runs, its `stack.env` has the
settings; afterwards there are none, because another stack may listen at the same addresses by then. Every other context
holds its settings itself.
"""

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

from dotenv import dotenv_values

from tools.errors import CommandError, UsageError
from tools.local.private_files import open_private

#: The context that is always there: the services at their default ports on this machine, and no databases.
DEFAULT: Final = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STACK_FOLDER: Final = ".innosystem"

State = Literal["running", "starting", "stopped", ""]


@dataclass(frozen=True)
class Context:
    """A platform with a name.

    Attributes:
        name: The name.
        stack: The folder of the stack that serves the platform; None if no local stack does.
        given: The settings of a context without a stack, by variable.
    """

    name: str
    stack: Path | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state of the stack; empty for a context without a stack, of which nothing is known."""
        if self.stack is None:
            return ""
        if not _locked(self.stack / "stack.lock"):
            return "stopped"
        return "running" if (self.stack / "stack.env").exists() else "starting"

    @property
    def usable(self) -> bool:
        """Whether the context has settings now."""
        return self.state in {"running", ""}

    def settings(self) -> dict[str, str]:
        """Return the settings by variable.

        Raises:
            CommandError: The stack does not run.
        """
        if self.stack is None:
            return dict(self.given)
        if (state := self.state) != "running":
            how = "is starting: try again" if state == "starting" else "is stopped: start it, `innosystem up"
            folder = "" if state == "starting" else f" --folder {_as_argument(self.stack)}`"
            raise CommandError(
                f"the stack of the context {self.name} {how}{folder}, or choose another platform: "
                "`innosystem context list`, `innosystem context use`"
            )
        values = dotenv_values(self.stack / "stack.env", interpolate=False)
        return {name: value for name, value in values.items() if value}


@dataclass
class Contexts:
    """All contexts.

    Attributes:
        known: The contexts by name.
        current: The name of the context that is used if nothing else names a platform; None for the default one.
    """

    known: dict[str, Context] = field(default_factory=dict)
    current: str | None = None

    def named(self, name: str) -> Context:
        """Return a context.

        Raises:
            CommandError: There is none of this name.
        """
        if name not in self.known:
            names = ", ".join(sorted({DEFAULT, *self.known}))
            raise CommandError(f"there is no context {name!r}: the contexts are {names}")
        return self.known[name]

    def add_stack(self, folder: Path) -> str:
        """Add the context of a stack that runs, and return its name.

        The context becomes the current one, unless another platform that can be used is.
        """
        for name in [name for name, one in self.known.items() if one.stack and not one.stack.exists()]:
            self.remove(name)
        of_folder = (name for name, one in self.known.items() if one.stack == folder)
        name = next(of_folder, None) or self._free_name(folder)
        self.known[name] = Context(name, stack=folder)
        if self.current is None or not self.known[self.current].usable:
            self.current = name
        return name

    def remove(self, name: str) -> None:
        """Remove a context."""
        del self.known[name]
        if self.current == name:
            self.current = None

    def _free_name(self, folder: Path) -> str:
        base = "local" if folder.name == _STACK_FOLDER else re.sub(r"[^A-Za-z0-9._-]+|^[^A-Za-z0-9]+", "", folder.name)
        if _NAME.fullmatch(base) and base not in {DEFAULT, *self.known}:
            return base
        # Another folder has this name already.
        digest = blake2b(os.fsencode(folder), digest_size=3).hexdigest()
        return f"{base[:50] or 'stack'}-{digest}"


def check_name(name: str) -> None:
    """Check that a context may have a name.

    Raises:
        UsageError: It may not.
    """
    if name == DEFAULT or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} can't be the name of a context: letters, digits, `.`, `_` and `-`, at most 63, and not {DEFAULT}"
        )


def contexts_file() -> Path | None:
    """Return the file of the contexts, INNOSYSTEM_CONFIG or one in the user's configuration; None without a home."""
    if given := os.environ.get("INNOSYSTEM_CONFIG"):
        return Path(given)
    if base := os.environ.get("XDG_CONFIG_HOME"):
        return Path(base) / "innosystem" / "contexts.json"
    try:
        return Path.home() / ".config" / "innosystem" / "contexts.json"
    except RuntimeError:
        # In a container, a user may have no home.
        return None


def read_contexts() -> Contexts:
    """Read the contexts; none if there is no file, or if this user may not look into the folder.

    Raises:
        CommandError: The file is not understood.
    """
    file = contexts_file()
    try:
        text = file.read_text(encoding="utf-8") if file else ""
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return Contexts()
    if not text:
        return Contexts()
    try:
        found = json.loads(text)
        known = {
            name: Context(name, Path(one["stack"]) if "stack" in one else None, dict(one.get("settings", {})))
            for name, one in found["contexts"].items()
        }
        current = found["current"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{file} has no contexts that this release can read ({error}): mend or remove it") from error
    return Contexts(known, current if current in known else None)


@contextmanager
def changed_contexts() -> Iterator[Contexts]:
    """Yield the contexts, and write them at the end of the block, one process at a time.

    Raises:
        CommandError: The file can't be written; or what `read_contexts` raises.
    """
    if (place := contexts_file()) is None:
        raise CommandError("contexts have no place: HOME is not set; set INNOSYSTEM_CONFIG to a file")
    # A link, as to a folder of settings under version control, stays one.
    file = place.resolve()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_private(file.with_name(f"{file.name}.lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contexts = read_contexts()
            yield contexts
            _write(file, contexts)
    except OSError as error:
        raise CommandError(
            f"contexts can't be kept in {file}: {error.strerror}; INNOSYSTEM_CONFIG names another file"
        ) from error


def _write(file: Path, contexts: Contexts) -> None:
    """Replace the file as a whole: a reader sees the old one or the new one."""
    content = {
        "current": contexts.current,
        "contexts": {
            name: {"stack": str(one.stack)} if one.stack else {"settings": dict(one.given)}
            for name, one in contexts.known.items()
        },
    }
    # Readable by this user only, as it contains passwords.
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            json.dump(content, new, indent=2)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _locked(lock: Path) -> bool:
    """Return whether a stack holds a lock. The kernel releases it with the process, however that ends."""
    try:
        with lock.open() as file:
            # A lock taken here for a moment could keep a stack from starting. So it is tried only where a process has
            # the ID of the one that wrote the file, which a stack that has ended leaves behind.
            if not _alive(file.read().strip()):
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # No file, or not this user's: no stack that this user could use.
        return False
    return False


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _as_argument(folder: Path) -> str:
    import shlex

    return shlex.quote(str(folder))
