"""The option --watch: what a command shows, again whenever it has changed."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import Parameter, validators

from tools.cli.listing import Found
from tools.cli.output import Columns, Output, console, print_list
from tools.cli.output.text import table_lines
from tools.errors import ServiceUnreachable

if TYPE_CHECKING:
    from rich.console import RenderableType

INTERVAL: Final = 2.0
_INTERVAL_MIN: Final = 0.5

Watch: TypeAlias = Annotated[
    bool,
    Parameter(
        name="--watch",
        negative="",
        show_default=False,
        help="Show changes until Ctrl-C: a terminal is redrawn, a pipe gets a line per change.",
    ),
]
Interval: TypeAlias = Annotated[
    float,
    Parameter(
        name="--interval",
        validator=validators.Number(gte=_INTERVAL_MIN),
        help="How many seconds --watch waits before it asks again.",
    ),
]


async def redraw(
    read: Callable[[], Awaitable[Any]],
    draw: "Callable[[Any], RenderableType]",
    *,
    interval: float,
    ended: Callable[[Any], bool] = lambda state: False,
) -> None:
    """Draw a state on the terminal until it has ended or the user interrupts.

    While a service can't be reached, such as during its restart, the last state stays, with the reason below it.

    Args:
        read: Return the state.
        draw: Return what the terminal shows of it.
        interval: How many seconds to wait between two reads.
        ended: Return whether the state is the last.
    """
    from rich.console import Group
    from rich.live import Live

    drawn: RenderableType = ""
    with Live(console=console(), auto_refresh=False) as live:
        while True:
            state, trouble = await _read(read)
            if not trouble:
                drawn = draw(state)
            live.update(Group(drawn, trouble) if trouble else drawn, refresh=True)
            if not trouble and ended(state):
                return
            await asyncio.sleep(interval)


async def follow_list(
    read: Callable[[], Awaitable[tuple[Found, Columns]]],
    output: Output,
    *,
    interval: float,
    nothing: str,
    version: Callable[[Any], tuple[Any, Any]],
) -> None:
    """Show a list until the user interrupts: a terminal is redrawn; a pipe, and any format for programs, gets changes.

    Args:
        read: Return the messages and their columns.
        output: The format.
        interval: How many seconds to wait between two reads.
        nothing: The text for people if the list is empty.
        version: Return the identity of a message, and what differs after each change that is worth a line.
    """
    if output.for_people and sys.stdout.isatty():
        await redraw(read, lambda state: _drawn(state[0], state[1], output, nothing), interval=interval)
        return
    output = output.as_lines()
    known: dict[Any, Any] = {}
    while True:
        state, trouble = await _read(read)
        if trouble:
            sys.stderr.write(f"{trouble}\n")
        else:
            messages, columns = state
            versions = [version(message) for message in messages]
            changed = [
                message
                for message, (identity, now) in zip(messages, versions, strict=True)
                if identity not in known or known[identity] != now
            ]
            if changed:
                print_list(changed, columns, output, nothing="", titles=not known)
                sys.stdout.flush()
            known |= dict(versions)
        await asyncio.sleep(interval)


async def _read(read: Callable[[], Awaitable[Any]]) -> tuple[Any, str]:
    """Return the state, or why a service can't be reached for the moment."""
    from grpc import StatusCode, aio

    from tools.cli.errors import describe

    try:
        return await read(), ""
    except ServiceUnreachable as error:
        return None, str(error)
    except aio.AioRpcError as error:
        if error.code() not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
            raise
        return None, describe(error)


def _drawn(messages: Found, columns: Columns, output: Output, nothing: str) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    if not messages:
        return nothing
    wide = output.format == "wide"
    lines = table_lines(messages, columns.columns if wide else columns.of_table(), None if wide else console().width)
    for line in lines:
        # Another line for the rest would move the next drawing down.
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines, Text(messages.note))
