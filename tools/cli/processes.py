"""The platform of processes that read their settings from the environment, as services and runners do."""

from tools.local.target import Target, announced


def use_platform(*variables: str) -> Target:
    """Set the environment of this process to the platform of the command, if another source than it names one.

    Args:
        variables: What the process needs of a context or a file. A default could be another platform's.

    Returns:
        The platform.

    Raises:
        CommandError: The source lacks a variable.
    """
    chosen = announced()
    if not chosen.is_inherited:
        if chosen.platform:
            chosen.require(*variables)
        chosen.apply()
    return chosen
