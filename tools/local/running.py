"""Stacks that another process runs, by their folders."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from innosystem.shared.transport import Transport
from services import SERVICES
from tools.errors import CommandError
from tools.local.contexts import Context
from tools.local.environment import address_variable

if TYPE_CHECKING:
    from innosystem.client import Innosystem

FOLDER: Final = Path(".innosystem")
"""Where `innosystem up` and `innosystem dev` keep data and logs by default."""

_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class RunningStack:
    """A stack that has started.

    Attributes:
        folder: Its folder.
        settings: The settings for programs that work with it, as in its `stack.env`.
    """

    folder: Path
    settings: Mapping[str, str]

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses of the services, by name."""
        return {service: self.settings[address_variable(service)] for service in SERVICES}

    def client(self, **channel: Any) -> "Innosystem":
        """Return a client of the services, as the stack's operator.

        Args:
            channel: Passed on to `innosystem.client.Innosystem`.
        """
        from innosystem.client import Innosystem, token_of

        transport = Transport.of(self.settings)
        return Innosystem(**self.addresses, token=token_of(self.settings), transport=transport, **channel)

    async def wait(self) -> None:
        """Wait until the stack ends.

        Raises:
            CommandError: The stack has ended.
        """
        while True:
            if _context(self.folder).state != "running":
                raise CommandError(f"the stack in {self.folder} has ended")
            await asyncio.sleep(_POLL_SECONDS)


def holder(folder: Path) -> str | None:
    """Return the ID of the process whose stack runs in a folder, or starts there; None if there is none."""
    if _context(folder).state == "stopped":
        return None
    return (folder / "stack.lock").read_text().strip()


def running_stack(folder: Path) -> RunningStack | None:
    """Return the stack that runs in a folder; None if there is none, or it is still starting."""
    context = _context(folder)
    return RunningStack(folder.resolve(), context.settings()) if context.state == "running" else None


async def started_stack(folder: Path) -> RunningStack | None:
    """Return the stack that runs in a folder, once it has started; None if there is none."""
    while True:
        if _context(folder).state != "starting":
            return running_stack(folder)
        await asyncio.sleep(_POLL_SECONDS)


def _context(folder: Path) -> Context:
    return Context("", stack=folder.resolve())
