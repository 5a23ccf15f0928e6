"""Asks before a command does what can't be taken back: it says what that is, and goes on when it is told to."""

import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from tools.errors import CommandError

Yes: TypeAlias = Annotated[
    bool, Parameter(name="--yes", negative="", show_default=False, help="Do it without a question.")
]
DryRun: TypeAlias = Annotated[
    bool, Parameter(name="--dry-run", negative="", show_default=False, help="Say what would be done, and do nothing.")
]


def confirmed(plan: Sequence[str], *, yes: bool, dry_run: bool) -> bool:
    """Say what is about to be done, and find out whether it may.

    Args:
        plan: What will be done, to how much and at what cost, a line each. It goes to standard error.
        yes: The user has agreed on the command line.
        dry_run: The user wants to know the plan only.

    Returns:
        Whether to do it; False for a dry run.

    Raises:
        CommandError: The user does not agree, or there is no terminal to ask at and no --yes.
    """
    sys.stderr.write("".join(f"{line}\n" for line in plan))
    if dry_run:
        sys.stderr.write("Nothing was done: --dry-run.\n")
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError("nothing was done: give --yes to do it, or --dry-run to see what it would be")
    sys.stderr.write("Go on? Type yes: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise CommandError("nothing was done")
    return True
