"""Confirmation of commands that can't be undone: they show their plan and continue when the user agrees."""

import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from tools.cli.interrupts import interruptible
from tools.errors import CommandError

Yes: TypeAlias = Annotated[
    bool, Parameter(name="--yes", negative="", show_default=False, help="Skip the confirmation.")
]
DryRun: TypeAlias = Annotated[
    bool, Parameter(name="--dry-run", negative="", show_default=False, help="Show the plan, and change nothing.")
]


def confirmed(plan: Sequence[str], *, yes: bool, dry_run: bool) -> bool:
    """Show a plan, and return whether to carry it out.

    Args:
        plan: The changes with their extent and cost, a line each. They go to standard error.
        yes: The user has agreed on the command line.
        dry_run: The user only wants to see the plan.

    Returns:
        Whether to carry it out; False for a dry run.

    Raises:
        CommandError: The user does not agree, or has no terminal and gives no --yes.
        KeyboardInterrupt: The user pressed Ctrl-C; told that nothing was done.
    """
    sys.stderr.write("".join(f"{line}\n" for line in plan))
    if dry_run:
        sys.stderr.write("Nothing was done: --dry-run.\n")
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError("nothing was done: give --yes to do it, or --dry-run to see the plan")
    try:
        with interruptible():
            sys.stderr.write("Continue? Type yes: ")
            sys.stderr.flush()
            typed = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\ninnosystem: nothing was done\n")
        raise
    if typed.strip().lower() != "yes":
        raise CommandError("nothing was done")
    return True
