"""A session of `innosystem dev`: the local stack, job types, and a runner that follows the file with the handlers."""

import asyncio
import fcntl
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from grpc import RpcError

from innosystem.client import Innosystem, error_from
from services.kit.currencies import money
from tools.demo.seed import seed
from tools.dev.job_lines import JobLines
from tools.dev.job_types import Served, job_type_for, queues_of
from tools.dev.runner import DevRunner
from tools.dev.templates import EXAMPLE, EXAMPLE_INPUT
from tools.errors import CommandError
from tools.local.environment import environment
from tools.local.ports import is_free
from tools.local.private_files import open_private
from tools.local.running import RunningStack, holder, running_stack, started_stack
from tools.local.stack import Stack
from tools.local.steps import Steps

_PORTS: Final = {"customers": 50051, "wallets": 50052, "jobs": 50053}

# The settings of another platform, or of another runner.
_OTHERS: Final = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_")

Watch = Callable[[], Awaitable[None]]
"""Waits until a stack ends, and raises what ended it."""


class Session:
    """A session, which runs until it is cancelled or the stack ends.

    Args:
        file: The file with the handlers.
        folder: The folder of the stack.
        price_cents: The price of a job of new job types.
        currency: Its currency.
        free_ports: Whether the services listen on free ports, even if the default ones are free.
        command: How to call `innosystem`, for advice.
        context: Keeps a context of the stack, by its folder, and returns what to say about it.
    """

    def __init__(
        self,
        file: Path,
        *,
        folder: Path,
        price_cents: int,
        currency: str,
        free_ports: bool,
        command: str,
        context: Callable[[Path], str],
    ) -> None:
        self._file = file
        self._folder = folder.resolve()
        self._price_cents = price_cents
        self._currency = currency
        self._free_ports = free_ports
        self._command = command
        self._context = context
        self._greeted = False
        self._at_ctrl_c = "stops everything; the data stays"

    async def run(self) -> None:
        """Run the handlers of the file, and run them anew when it changes.

        Raises:
            CommandError: The stack cannot start, or has ended, or another session uses it.
            HasOtherCustomers: The platform is not for development.
        """
        if find_spec("watchfiles") is None:
            raise CommandError("the package watchfiles is missing, of the extra `embedded`: pip install watchfiles")
        steps = Steps()
        async with (
            AsyncExitStack() as alone,
            self._stack(steps) as (stack, watch),
            stack.client() as platform,
        ):
            alone.enter_context(_alone(stack.folder))
            with steps("examples", "for the services to create an example customer"):
                await seed(platform)
            lines = JobLines(platform)
            runner = DevRunner(
                self._file,
                logs=stack.folder / "logs",
                settings={**_own_settings(), **stack.settings},
                show=lines.show,
                queues=lambda handlers: self._queues(platform, handlers),
                ready=lambda handlers: self._announce(platform, handlers),
                ended=self._say_ended,
            )
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_raising(watch))
                    tasks.create_task(runner.run())
            finally:
                await lines.close()

    @asynccontextmanager
    async def _stack(self, steps: Steps) -> AsyncIterator[tuple[RunningStack, Watch]]:
        """Yield the stack that runs in the folder, or start one for the time of the block.

        Its databases are embedded ones, whatever the settings name: no real platform gets job types and money by a
        developer's mistake.
        """
        if (process := holder(self._folder)) is not None:
            with steps("stack", f"for the stack of process {process} to start"):
                found = await started_stack(self._folder)
            if found is not None:
                _say(f"Uses the stack that process {process} runs in {self._folder}.")
                self._at_ctrl_c = "stops the runner; the stack stays"
                yield found, found.wait
                return
        ports = {} if self._free_ports else {name: port for name, port in _PORTS.items() if is_free(port)}
        async with Stack(self._folder, ports=ports, runners=0, settings=_own_settings(), step=steps) as stack:
            own = running_stack(self._folder)
            if own is None:
                raise FileNotFoundError(stack.settings_file)
            _say(self._context(self._folder))
            try:
                yield own, stack.watch
            finally:
                _say("Stopping ...")

    async def _queues(self, platform: Innosystem, handlers: Sequence[str]) -> Collection[str]:
        """Return the queues of the handlers' job types; none, with a line, if the services do not say."""
        try:
            return await queues_of(platform, handlers)
        except RpcError as error:
            _say(f"The queues of the job types are not known: {error_from(error) or error}")
            return ()

    async def _announce(self, platform: Innosystem, handlers: Sequence[str]) -> None:
        """Create the job types of handlers that are new, and say what can be submitted."""
        shown = []
        for handler in handlers:
            try:
                served = await job_type_for(platform, handler, self._price_cents, self._currency)
            except RpcError as error:
                shown.append(f"{handler:<12} has no job type: {error_from(error) or error}")
            else:
                shown.append(f"{handler:<12} {self._price(served)}")
        _say(f"{datetime.now().astimezone():%H:%M:%S} {self._file} is running:")
        _say("\n".join(f"  {line}" for line in shown))
        if not self._greeted:
            self._greeted = True
            self._greet(handlers[0])

    def _price(self, served: Served) -> str:
        job_type = served.job_type
        if served.other_handler:
            return f"gets no jobs: the job type of this name calls the handler {job_type.processing_logic_id}"
        price = f"{money(job_type.standard_cost_cents, job_type.currency)} a job"
        same = (job_type.standard_cost_cents, job_type.currency) == (self._price_cents, self._currency)
        return price if served.created or same else f"{price}: the job type exists, and keeps its price"

    def _greet(self, handler: str) -> None:
        given = EXAMPLE_INPUT if self._file.read_text(encoding="utf-8") == EXAMPLE else "{...}"
        _say(
            "\nSubmit a job in another terminal:\n"
            f"  {self._command} dev submit {shlex.quote(handler)} {shlex.quote(given)}\n"
            f"The runner starts anew when {self._file.name} changes. Ctrl-C {self._at_ctrl_c}.\n"
        )

    def _say_ended(self, how: str) -> None:
        again = "starts anew" if how.startswith("ended") else "starts anew when the file changes; jobs wait until then"
        _say(f"{datetime.now().astimezone():%H:%M:%S} The runner {how}. It {again}.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second session from the stack in a folder: both would write one log. The lock ends with this process.

    Raises:
        CommandError: Another session uses the stack.
    """
    with open_private(folder / "dev.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CommandError(
                f"process {file.read().strip()} runs handlers on the stack in {folder} already: stop it by Ctrl-C, "
                "import these handlers in its file, or give another --folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


async def _raising(watch: Watch) -> None:
    await watch()


def _own_settings() -> Mapping[str, str]:
    return {name: value for name, value in environment().items() if not name.startswith(_OTHERS)}


def _say(text: str) -> None:
    print(text, flush=True)
