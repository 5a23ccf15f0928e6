"""Wrong command lines in one line: everything that is wrong, and whose help helps."""

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from cyclopts import Argument, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

# What the arguments that a command does not take can mean, by the command.
_MEANT: Final[dict[tuple[str, ...], str]] = {("submit",): "; one job is given by --job-type, --customer-id and --input"}


def describe_usage(error: CycloptsError) -> str:
    """Describe a command line that cyclopts refuses."""
    chain = " ".join(("innosystem", *(error.command_chain or ())))
    if isinstance(error, MissingArgumentError) and (value := _without_value(error)):
        if (given := _negative_after(value, error.root_input_tokens or ())) is not None:
            return f"{value} takes no value below zero, such as {given}: see {chain} --help"
        return f"{value} needs a value: see {chain} --help"
    if isinstance(error, (MissingArgumentError, UnknownOptionError)):
        arguments = list(error.app.assemble_argument_collection()) if error.app else []
        problems, meant = [], set()
        for option in dict.fromkeys(_unknown(error, arguments)):
            near = _nearest(option, arguments)
            problems.append(f"unknown option {option}" + (f" (did you mean {near}?)" if near else ""))
            meant.add(near)
        if isinstance(error, MissingArgumentError):
            missing = [name for names in _missing(error, arguments) if not meant & set(names) for name in names[:1]]
            if missing:
                problems.append(f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} required")
        return f"{'; '.join(problems)}: see {chain} --help"
    if isinstance(error, UnusedCliTokensError):
        unexpected = [repr(token) for token in error.unused_tokens or ()]
        noun = "argument" if len(unexpected) == 1 else "arguments"
        advice = _MEANT.get(tuple(error.command_chain or ()), "")
        return f"unexpected {noun} {_listed(unexpected)}{advice}: see {chain} --help"
    return " ".join(str(error).split())


def _without_value(error: MissingArgumentError) -> str:
    """Return the flag that was given without its value, if that is the error."""
    if error.keyword is not None:
        return error.keyword
    given = error.argument.tokens if error.argument else ()
    return next((token.keyword for token in given if token.keyword), "")


def _negative_after(option: str, tokens: Sequence[str]) -> str | None:
    """Return the number below zero that follows an option, which the parser takes for another option."""
    following = (later for token, later in pairwise(tokens) if token == option)
    return next((later for later in following if re.match(r"-\.?[0-9]", later)), None)


def _unknown(error: CycloptsError, arguments: Sequence[Argument]) -> Iterator[str]:
    if isinstance(error, UnknownOptionError):
        yield (error.token.keyword or error.token.value).partition("=")[0]
    known = {name for one in arguments for name in one.names}
    for token in error.unused_tokens or ():
        option = token.partition("=")[0]
        if option.startswith("--") and option not in known:
            yield option


def _nearest(option: str, arguments: Sequence[Argument]) -> str:
    names = [name for one in arguments if one.parse for name in one.names if name.startswith("--")]
    return next(iter(difflib.get_close_matches(option.partition("=")[0], names, 1)), "")


def _missing(error: MissingArgumentError, arguments: Sequence[Argument]) -> Iterator[tuple[str, ...]]:
    """Yield the names of each missing parameter. Cyclopts stops at the first; those before it were given."""
    if error.argument is None:
        return
    given = {token.partition("=")[0] for token in error.root_input_tokens or ()}
    found = False
    for one in arguments:
        found = found or one.name == error.argument.name
        if found and one.parse and one.required and not given & set(one.names):
            yield (one.name.removeprefix("--").upper(), *one.names) if one.index is not None else one.names


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
