"""`innosystem context`."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from tools.cli.output import NOTHING, TABLE, Column, Columns, Output, print_list, print_one
from tools.cli.secret_input import STANDARD_INPUT, read_secret
from tools.errors import CommandError, UsageError
from tools.local.contexts import DEFAULT, Context, changed_contexts, check_name, read_contexts

app = App(name="context", help="Choose the platform that commands use: list, use, show, create or delete contexts.")

Name = Annotated[str, Parameter(name="NAME")]


class _Row(dict[str, Any]):
    """What is shown of a context."""

    @property
    def name(self) -> str:
        """The name, for `-o name`."""
        return str(self["name"])


_COLUMNS = Columns(
    (
        Column("", lambda row, _: "*" if row["current"] else "", fields=("current",)),
        Column("name", lambda row, _: row["name"], usual=12),
        Column("state", lambda row, _: row["state"] or NOTHING, usual=8),
        Column("jobs service", lambda row, _: row["jobs_address"] or NOTHING, usual=16, fields=("jobs_address",)),
        Column("stack", lambda row, _: row["stack"] or NOTHING, priority=1, cut=12),
    ),
    name="name",
)


@app.command(name="list")
def list_contexts(*, output: Output = TABLE) -> None:
    """List the contexts, and which of them is the current one.

    `innosystem up` creates one for each stack. The context `default` stands for services at their default ports on this
    machine. Commands use the current context if neither an option nor the environment names a platform.
    """
    contexts = read_contexts()
    rows = [_row(each, current=contexts.current) for each in (Context(DEFAULT), *contexts.known.values())]
    print_list(rows, _COLUMNS, output, nothing="")
    _say_instead(contexts.current)


@app.command
def use(name: Name, /) -> None:
    """Make a context the current one.

    Args:
        name: The context.
    """
    with changed_contexts() as contexts:
        contexts.current = None if name == DEFAULT else contexts.named(name).name
    print(f"The current context is {name}.")
    _say_instead(None if name == DEFAULT else name)


def _say_instead(current: str | None) -> None:
    """Say on standard error what commands use instead of the current context, if something comes before it."""
    from tools.local.target import DEFAULT_SOURCE, target

    try:
        found = target()
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return
    used = found.context or (DEFAULT if found.source == DEFAULT_SOURCE else None)
    if used != (current or DEFAULT):
        why = f", which names {next(iter(found.platform))}" if found.is_inherited else ""
        sys.stderr.write(f"Here, commands use {found.source} instead of the current context{why}.\n")


@app.command
def show(name: Annotated[str | None, Parameter(name="NAME")] = None, /, *, output: Output = TABLE) -> None:
    """Show the settings of a context, without passwords.

    Args:
        name: The context; by default the current one.
    """
    contexts = read_contexts()
    chosen = name or contexts.current or DEFAULT
    context = Context(DEFAULT) if chosen == DEFAULT else contexts.named(chosen)
    settings = {variable: _shown(variable, value) for variable, value in _settings(context).items()}
    row = _Row(_row(context, current=contexts.current), settings=settings)
    stack = {"stack": str(context.stack), "state": context.state} if context.stack else {}
    print_one(row, _COLUMNS, output, pairs={"name": context.name, **stack, **settings})


@app.command
def create(
    name: Name,
    /,
    *variables: Annotated[str, Parameter(name="VARIABLE=VALUE")],
    replace: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Create a context of a platform that no local stack serves, from variables, --env-file or the environment.

    Its settings are those that the services have: JOBS_ADDRESS, JOBS_DATABASE_URL, REDIS_URL and so on, as many as are
    known, and INNOSYSTEM_TOKEN_FILE for a file with your token. They are kept in a file that only you can read.

    All users of a machine see arguments, so a token, or an address with a password, is no argument. `-` as its value
    stands for a line of standard input; or a file holds it, which JOBS_DATABASE_URL_FILE and so on name.

    Args:
        name: The name.
        variables: Settings, such as JOBS_ADDRESS=jobs.example:50053; by default those of --env-file or the environment.
        replace: Replace the context if it exists.
    """
    check_name(name)
    settings = _with_whole_paths(_given(variables) if variables else _named_by_environment())
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
        raise UsageError(f"the context {DEFAULT} is always there")
    with changed_contexts() as contexts:
        contexts.remove(contexts.named(name).name)
        current = contexts.current or DEFAULT
    where = ", the services at their default ports on this machine" * (current == DEFAULT)
    print(f"Deleted the context {name}. The current context is {current}{where}.")


def _given(variables: Sequence[str]) -> dict[str, str]:
    from innosystem.shared.settings_names import CREDENTIALS, PLATFORM, SECRETS, misspelt
    from tools.local.environment import filled

    known = (*PLATFORM, *CREDENTIALS, *(f"{secret}_FILE" for secret in SECRETS))
    settings = {variable: value for variable, _, value in (each.partition("=") for each in variables)}
    for name, value in settings.items():
        if name not in known:
            near = misspelt([name]).get(name)
            hint = f"did you mean {near}?" if near in known else f"there are {', '.join(known)}"
            raise UsageError(f"{name} does not name a platform: {hint}")
        if not value:
            raise UsageError(f"{name} has no value: write {name}=VALUE")
        _refuse_secret(name, value)
    # In the order of the arguments.
    read = {name: read_secret(name) for name, value in settings.items() if value == STANDARD_INPUT}
    if empty := [name for name, value in read.items() if not value]:
        raise UsageError(f"{empty[0]}: standard input has no line for it")
    return filled({**settings, **read})


def _refuse_secret(variable: str, value: str) -> None:
    """Refuse an argument that has a secret.

    Raises:
        UsageError: With how to give it otherwise.
    """
    from tools.local.urls import without_password

    secret = "a token" if variable.endswith("_TOKEN") else "an address with a password"
    if value == STANDARD_INPUT or not (
        variable.endswith("_TOKEN") or (variable.endswith("_URL") and without_password(value) != value)
    ):
        return
    raise UsageError(
        f"{secret} is no argument, as all users of the machine see arguments: write {variable}={STANDARD_INPUT} and "
        f"give it on standard input, or {variable}_FILE=FILE"
    )


def _with_whole_paths(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings whose files are found from every folder."""
    from pathlib import Path

    return {name: str(Path(value).absolute()) if name.endswith("_FILE") else value for name, value in settings.items()}


def _named_by_environment() -> dict[str, str]:
    from tools.local.target import target

    chosen = target()
    if chosen.context or not chosen.platform:
        raise UsageError(
            "name the platform: JOBS_ADDRESS=... JOBS_DATABASE_URL=... and so on, or --env-file with such lines"
        )
    return {**chosen.platform, **chosen.credentials}


def _shown(variable: str, value: str) -> str:
    from tools.local.urls import HIDDEN, without_password

    if variable.endswith("_TOKEN"):
        return HIDDEN
    return without_password(value) if variable.endswith("_URL") else value


def _settings(context: Context) -> dict[str, str]:
    from tools.local.target import DEFAULT_ADDRESSES

    if context.name == DEFAULT:
        return {f"{service.upper()}_ADDRESS": address for service, address in DEFAULT_ADDRESSES.items()}
    return context.settings() if context.usable else {}


def _row(context: Context, *, current: str | None) -> _Row:
    return _Row(
        name=context.name,
        current=context.name == (current or DEFAULT),
        state=context.state,
        jobs_address=_settings(context).get("JOBS_ADDRESS", ""),
        stack=str(context.stack) if context.stack else "",
    )
