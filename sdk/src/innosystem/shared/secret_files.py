"""Secrets in files, as Kubernetes mounts them: JOBS_DATABASE_URL_FILE names the file of JOBS_DATABASE_URL."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_SUFFIX: Final = "_FILE"


class SecretFileError(Exception):
    """The file of a secret can't be used; the message names the setting and the file, never the content."""


def secrets_in_files(variables: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the settings whose files the variables name.

    Args:
        variables: Values by variable.
        names: The variables that may be in a file.

    Raises:
        SecretFileError: A file can't be read or is empty, or a variable is set besides its file.
    """
    found = {}
    for name in names:
        if not (file := variables.get(name + _SUFFIX)):
            continue
        if variables.get(name):
            raise SecretFileError(f"{name} and {name}{_SUFFIX} are both set: unset one of them")
        try:
            found[name] = Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise SecretFileError(f"{name}{_SUFFIX}: {file} can't be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise SecretFileError(f"{name}{_SUFFIX}: {file} is not text") from None
        if not found[name]:
            raise SecretFileError(f"{name}{_SUFFIX}: {file} is empty")
    return found
