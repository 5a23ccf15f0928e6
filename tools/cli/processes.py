"""The platform of processes that read their settings from the environment, as services and runners do."""

import asyncio

from tools.local.target import announced


def use_platform(*variables: str) -> None:
    """Set the environment of this process to the platform of the command, if another source than it names one.

    Args:
        variables: What the process needs and has no default for, or a default that is another platform's.

    Raises:
        CommandError: The source lacks a variable; or the services at the default addresses use other databases than
            the environment names.
    """
    chosen = announced()
    if not chosen.is_inherited:
        chosen.require(*variables)
        chosen.apply()
    elif chosen.is_guessed:
        from tools.cli.identity import check_guess

        asyncio.run(check_guess(chosen))
