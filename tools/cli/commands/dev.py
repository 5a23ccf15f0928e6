"""`innosystem dev`: handlers under development on the local stack."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tools.cli.money import Amount, Money
from tools.cli.programs import innosystem
from tools.cli.stack_context import stack_context
from tools.cli.unserved import unserved_jobs
from tools.demo.seed import CURRENCY
from tools.dev.session import Session
from tools.dev.submission import check_input, submit_and_wait
from tools.dev.templates import EXAMPLE
from tools.errors import CommandError, UsageError
from tools.local.contexts import read_contexts
from tools.local.running import FOLDER, holder, started_stack
from tools.local.stopping import until_stopped

_PRICE = Money(1, CURRENCY)

app = App(name="dev", help="Run handlers from a file on a local stack, again after each change.")


@app.default
async def dev(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    new: Annotated[
        bool, Parameter(negative="", show_default=False, help="Write an example if FILE is missing.")
    ] = False,
    price: Annotated[Amount, Parameter(help="The price of a job of new job types; by default 0.01EUR.")] = None,
    folder: Annotated[Path, Parameter(help="Where data and logs are kept between starts.")] = FOLDER,
    free_ports: Annotated[
        bool, Parameter(negative="", show_default=False, help="Have the services listen on any free ports.")
    ] = False,
) -> int:
    """Run handlers from a file on a local stack, again after each change. Ctrl-C stops everything; the data stays.

    Starts PostgreSQL, Redis and the services, or uses those of `innosystem up`. Each handler gets a job type with its
    ID as the name. `innosystem dev submit` submits a job for the example customer Ada.

    Args:
        file: The Python file with the handlers.
    """
    if not file.is_file():
        _require_example(file, new=new)
    elif file.suffix != ".py":
        raise UsageError(f"{file} is not a Python file: the name of a file with handlers ends in .py")
    cost = price or _PRICE
    if cost.currency != CURRENCY:
        raise UsageError(f"--price is in {cost.currency}, and Ada's wallet in {CURRENCY}")
    session = Session(
        file,
        folder=folder,
        price_cents=cost.cents,
        currency=cost.currency,
        free_ports=free_ports,
        command=innosystem(),
        context=stack_context,
    )
    try:
        await until_stopped(session.run())
    except KeyboardInterrupt:
        print("Stopped.")
    return 0


def _require_example(file: Path, *, new: bool) -> None:
    """Write an example into a missing file, if that is wanted.

    Raises:
        CommandError: It is not wanted, or not possible.
    """
    if not new:
        if (meant := file.with_name(f"{file.name}.py")).is_file():
            raise CommandError(f"there is no file {file}; did you mean {meant}?")
        raise CommandError(f"there is no file {file}. --new writes this example there:\n\n{EXAMPLE}")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise UsageError(f"{file}: a module needs a name such as my_handlers.py")
    file.write_text(EXAMPLE, encoding="utf-8")
    print(f"Wrote an example to {file}.")


@app.command
async def submit(
    job_type: Annotated[str, Parameter(name="JOB_TYPE")],
    input_json: Annotated[str, Parameter(name="INPUT")] = "null",
    /,
    *,
    folder: Annotated[
        Path | None,
        Parameter(help="The folder of the stack; by default .innosystem, or that of the context.", show_default=False),
    ] = None,
) -> int:
    """Submit one job to the local stack for the example customer Ada, and wait for its output.

    The exit status is 1 if the job fails.

    Args:
        job_type: The job type: the ID of a handler.
        input_json: The input as JSON, such as {"name": "Ada"}; by default null.
    """
    check_input(input_json)
    where = folder or _current_folder()
    if (stack := await started_stack(where)) is None:
        raise CommandError(
            f"no stack is running in {where.resolve()}: start one in another terminal with "
            f"`{innosystem()} dev my_handlers.py`, or name its folder with --folder"
        )
    submitted = await until_stopped(submit_and_wait(stack, job_type, input_json, unserved=unserved_jobs))
    if submitted.succeeded:
        print(submitted.job.output_json)
        print(submitted.charge())
        return 0
    raise CommandError(f"{submitted.failure()}\n{submitted.charge()}")


def _current_folder() -> Path:
    """Return the folder of the stack that runs in the working directory, or else of the current context."""
    contexts = read_contexts()
    current = contexts.known[contexts.current].stack if contexts.current else None
    return FOLDER if holder(FOLDER) is not None or current is None else current
