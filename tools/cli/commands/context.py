"""`innosystem context`."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from tools.cli.options import Json
from tools.cli.output import NOTHING, print_json, print_pairs, print_table
from tools.errors import CommandError
from tools.local.contexts import DEFAULT, Context, changed_contexts, check_name, read_contexts

app = App(name="context", help="Choose the platform that commands use: list, use, show, create or delete contexts.")

Name = Annotated[str, Parameter(name="NAME")]


@app.command(name="list")
def list_contexts(*, as_json: Json = False) -> None:
    """List the contexts, and which of them is the current one.

    `innosystem up` creates one for each stack. The context `default` stands for services at their default ports on this
    machine. Commands use the current context if neither an option nor the environment names a platform.
    """
    contexts = read_contexts()
    rows = [_row(each, current=contexts.current) for each in (Context(DEFAULT), *contexts.known.values())]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ["", "name", "services", "state", "where"],
            [
                [
                    "*" if row["current"] else "",
                    row["name"],
                    row["jobs_address"] or NOTHING,
                    row["state"] or NOTHING,
                    where,
                ]
                for row in rows
                if (where := row["stack"] or NOTHING)
            ],
        )


@app.command
def use(name: Name, /) -> None:
    """Make a context the current one.

    Args:
        name: The context.
    """
    with changed_contexts() as contexts:
        contexts.current = None if name == DEFAULT else contexts.named(name).name
    print(f"The current context is {name}.")


@app.command
def show(name: Annotated[str | None, Parameter(name="NAME")] = None, /, *, as_json: Json = False) -> None:
    """Show the settings of a context, without passwords.

    Args:
        name: The context; by default the current one.
    """
    contexts = read_contexts()
    chosen = name or contexts.current or DEFAULT
    context = Context(DEFAULT) if chosen == DEFAULT else contexts.named(chosen)
    settings = {variable: _without_password(value) for variable, value in _settings(context).items()}
    if as_json:
        print_json(_row(context, current=contexts.current) | {"settings": settings})
    else:
        stack = {"stack": str(context.stack), "state": context.state} if context.stack else {}
        print_pairs({"name": context.name, **stack, **settings})


@app.command
def create(
    name: Name,
    /,
    *variables: Annotated[str, Parameter(name="VARIABLE=VALUE")],
    replace: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Create a context of a platform that no local stack serves, from variables, --env-file or the environment.

    Its settings are those that the services have: JOBS_ADDRESS, JOBS_DATABASE_URL, REDIS_URL and so on, as many as are
    known. They are kept in a file that only you can read.

    Args:
        name: The name.
        variables: Settings, such as JOBS_ADDRESS=jobs.example:50053; by default those of --env-file or the environment.
        replace: Replace the context if it exists.
    """
    check_name(name)
    settings = _given(variables) if variables else _named_by_environment()
    with changed_contexts() as contexts:
        if name in contexts.known and not replace:
            raise CommandError(f"there is a context {name} already: --replace replaces it")
        contexts.known[name] = Context(name, given=settings)
    print(f"Created the context {name}. `innosystem context use {name}` makes it the current one.")


@app.command
def delete(name: Name, /) -> None:
    """Delete a context. The platform, and the data of a stack, stay.

    Args:
        name: The context.
    """
    if name == DEFAULT:
        raise CommandError(f"the context {DEFAULT} is always there")
    with changed_contexts() as contexts:
        contexts.remove(contexts.named(name).name)
    print(f"Deleted the context {name}.")


def _given(variables: Sequence[str]) -> dict[str, str]:
    from tools.local.target import PLATFORM

    settings = {variable: value for variable, _, value in (each.partition("=") for each in variables)}
    if wrong := [each for each in variables if each.partition("=")[0] not in PLATFORM or not each.partition("=")[2]]:
        raise CommandError(
            f"{wrong[0]!r} is not one of {', '.join(PLATFORM)} with a value: JOBS_ADDRESS=localhost:50053"
        )
    return settings


def _named_by_environment() -> dict[str, str]:
    from tools.local.target import target

    chosen = target()
    if chosen.context or not chosen.platform:
        raise CommandError(
            "name the platform: JOBS_ADDRESS=... JOBS_DATABASE_URL=... and so on, or --env-file with such lines"
        )
    return chosen.platform


def _settings(context: Context) -> dict[str, str]:
    from tools.local.target import DEFAULT_ADDRESSES

    if context.name == DEFAULT:
        return {f"{service.upper()}_ADDRESS": address for service, address in DEFAULT_ADDRESSES.items()}
    return context.settings() if context.usable else {}


def _row(context: Context, *, current: str | None) -> dict[str, Any]:
    return {
        "name": context.name,
        "current": context.name == (current or DEFAULT),
        "state": context.state,
        "jobs_address": _settings(context).get("JOBS_ADDRESS", ""),
        "stack": str(context.stack) if context.stack else "",
    }


def _without_password(value: str) -> str:
    import re

    return re.sub(r"(?<=://)([^/@:]*):[^@]*@", r"\1:***@", value)
