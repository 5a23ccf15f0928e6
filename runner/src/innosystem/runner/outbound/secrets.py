"""Secrets by name, from files as Kubernetes mounts them, and their removal from what others see."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from innosystem.runner.errors import JobError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
# A shorter one could be any other text of a response, so it could not be hidden.
_LENGTH_MIN: Final = 8
_BYTES_MAX: Final = 65_536
_HIDDEN: Final = "***"


class Secrets:
    """The secrets of a folder: a file each, whose name is the secret's. Files are read again for each use.

    Args:
        folder: The folder; empty for no secrets.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def get(self, name: str) -> str:
        """Return a secret without the white space around it.

        Raises:
            JobError: There is no such secret, or it can't be used. It does not tell the content.
        """
        if not self._folder:
            raise _unusable(f"The secret {name!r} is needed, and RUNNER_SECRETS_DIR is not set")
        if not _NAME.fullmatch(name):
            raise _unusable(f"{name!r} can't be the name of a secret")
        try:
            with (Path(self._folder) / name).open("rb") as file:
                content = file.read(_BYTES_MAX + 1)
            value = content.decode("utf-8").strip()
        except OSError as exc:
            raise _unusable(f"The secret {name!r} can't be read: {exc.strerror}") from None
        except UnicodeDecodeError:
            raise _unusable(f"The secret {name!r} is not text") from None
        if len(value) < _LENGTH_MIN or len(content) > _BYTES_MAX:
            raise _unusable(f"The secret {name!r} must have {_LENGTH_MIN} characters to {_BYTES_MAX} bytes")
        return value


def hidden(value: Any, secrets: Collection[str]) -> Any:
    """Return a JSON value with asterisks in the place of secrets, in keys as well.

    Args:
        value: A JSON value, or text.
        secrets: The secrets.

    Raises:
        RecursionError: The value is nested too deep.
    """
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _HIDDEN)
        return value
    if isinstance(value, list):
        return [hidden(one, secrets) for one in value]
    if isinstance(value, dict):
        return {hidden(key, secrets): hidden(one, secrets) for key, one in value.items()}
    return value


def _unusable(message: str) -> JobError:
    # Another runner may have it, or this one once the folder is mended.
    return JobError(message, type="SECRET_UNUSABLE")
