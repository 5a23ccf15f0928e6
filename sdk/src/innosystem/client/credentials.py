"""The bearer token with which calls say who makes them: a signed token, or the API key of a customer."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

log = logging.getLogger(__name__)

#: Returns the token of a call that is about to be sent; empty for none.
Token: TypeAlias = Callable[[], str]
#: The token of calls without one, whatever the environment names.
NO_TOKEN: Final[Token] = str

TOKEN_VARIABLE: Final = "INNOSYSTEM_TOKEN"  # noqa: S105 - names of variables, no tokens
TOKEN_FILE_VARIABLE: Final = "INNOSYSTEM_TOKEN_FILE"  # noqa: S105 - the name of a variable, no token
_LOOK_SECONDS: Final = 1.0


class TokenFile:
    """A token in a file, which is read again within a second after the file has changed.

    A file that can't be read, or is empty, leaves the previous token in use, with one line in the log: its replacement
    may be half done. The end of that token is the limit: then services refuse it.

    Args:
        path: The file.

    Raises:
        OSError: The file can't be read now.
        ValueError: The file is empty now.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._token = self._read()
        self._looked_at = monotonic()
        self._is_failing = False

    def __call__(self) -> str:
        """Return the present token."""
        if monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = monotonic()
            self._look()
        return self._token

    def _look(self) -> None:
        try:
            self._token = self._read()
        except (OSError, ValueError) as error:
            if not self._is_failing:
                reason = error.strerror if isinstance(error, OSError) else "it holds no token"
                log.warning("%s can't be read, the previous token stays in use until it ends: %s", self._path, reason)
            self._is_failing = True
        else:
            if self._is_failing:
                log.info("%s can be read again", self._path)
            self._is_failing = False

    def _read(self) -> str:
        token = self._path.read_text("ascii").strip()
        if not token:
            raise ValueError(f"{self._path} holds no token")
        return token


def token_of(settings: Mapping[str, str] = os.environ) -> Token:
    """Return the token that settings name: INNOSYSTEM_TOKEN, or INNOSYSTEM_TOKEN_FILE for the name of a file.

    Args:
        settings: Settings by variable; by default the environment.

    Returns:
        The token; `NO_TOKEN` if neither is set.

    Raises:
        ValueError: Both are set, or the file can't be read or holds no token.
    """
    text, file = settings.get(TOKEN_VARIABLE, "").strip(), settings.get(TOKEN_FILE_VARIABLE, "")
    if text and file:
        raise ValueError(f"{TOKEN_VARIABLE} and {TOKEN_FILE_VARIABLE} are both set: unset one of them")
    if file:
        try:
            return TokenFile(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ValueError(f"{TOKEN_FILE_VARIABLE}: can't read {file}: {reason}") from None
    return (lambda: text) if text else NO_TOKEN
