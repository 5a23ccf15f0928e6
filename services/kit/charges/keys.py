"""The keys of charge tokens and receipts, which the jobs and wallets services share.

A text has one key a line, `ID:SECRET`, with a secret of 32 bytes in hexadecimal; `#` begins a comment. The first key
signs, and all of them verify: a new key is made known to every process before it signs, and the old one is removed when
nothing that it signed is valid any more. An ID is never used for another secret.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from services.kit.background import Loop
from services.kit.settings import StartupError

log = structlog.get_logger(__name__)

#: The largest length of an ID; shorter ones are filled with NUL bytes where the length is fixed.
ID_LENGTH: Final = 16
#: The length of a message authentication code: 128 bits.
MAC_LENGTH: Final = 16
_SECRET_LENGTH: Final = 32
_LINE: Final = re.compile(r"([a-z0-9-]{1,16}):([0-9a-f]{64})")
_FORM: Final = "ID:SECRET, an ID of 1 to 16 of a-z, 0-9 and -, and a secret of 64 hexadecimal digits"
_REFRESH_EVERY: Final = timedelta(seconds=5)

# Which kind of message a code is for: one for another purpose is as good as a forged one. At most 16 bytes.
CHARGE: Final = b"charge"
RECEIPT: Final = b"receipt"
CALLBACK: Final = b"callback"


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        id: The name of the key, 1 to 16 of a-z, 0-9 and `-`. It is no secret.
        secret: 32 random bytes.
    """

    id: str
    secret: bytes = field(repr=False)

    @cached_property
    def name(self) -> bytes:
        """The ID in its fixed length."""
        return self.id.encode().ljust(ID_LENGTH, b"\0")

    @property
    def line(self) -> str:
        """The line of a file of keys, with the secret."""
        return f"{self.id}:{self.secret.hex()}"

    def mac(self, purpose: bytes, message: bytes) -> bytes:
        """Return the message authentication code of a message for a purpose: keyed BLAKE2b."""
        code = self._begun[purpose].copy()
        code.update(message)
        return bytes(code.digest())

    @cached_property
    def _begun(self) -> dict[bytes, Any]:
        # Each has processed the key already, which is half of the work for a short message.
        return {
            purpose: blake2b(key=self.secret, person=purpose, digest_size=MAC_LENGTH)
            for purpose in (CHARGE, RECEIPT, CALLBACK)
        }


class KeyRing:
    """Keys, of which the first signs and all verify; without keys, nothing is signed.

    Args:
        keys: In order; no two of one ID.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = tuple(keys)
        self.signing = self.keys[0] if keys else None
        self._by_name = {key.name: key for key in keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    def named(self, name: bytes) -> Key | None:
        """Return the key with an ID in its fixed length, if there is one."""
        return self._by_name.get(name)

    @property
    def ids(self) -> list[str]:
        """The IDs; the first is that of the key that signs."""
        return [key.id for key in self.keys]

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Return the keys of a text.

        Raises:
            ValueError: If it has no key, two of one ID, or a line that is none; repeats nothing of the text.
        """
        keys: dict[str, Key] = {}
        for number, line in enumerate(text.splitlines(), 1):
            content = line.partition("#")[0].strip()
            if not content:
                continue
            match = _LINE.fullmatch(content)
            if match is None:
                raise ValueError(f"line {number} is not {_FORM}")
            key = Key(match[1], bytes.fromhex(match[2]))
            if key.id in keys:
                raise ValueError(f"line {number} has the ID of a line before")
            keys[key.id] = key
        if not keys:
            raise ValueError("there is no key: `innosystem charge-keys create` makes one")
        return cls(list(keys.values()))


class ChargeKeysError(StartupError):
    """The keys of charges can't be read, or are none; the message says what to do."""


class ChargeKeys:
    """The keys that are in force: those of a file, which is read again every few seconds, or of a text.

    Args:
        text: The keys as a text, in which spaces separate keys as lines do.
        file: The file with the keys; empty for none.
        kept_seconds: How long the keys of a file remain in force that can't be read again.

    Raises:
        ChargeKeysError: If the file can't be read, or the text holds no keys, or both are given.
    """

    def __init__(self, text: str = "", file: str = "", kept_seconds: float = 86_400) -> None:
        if text and file:
            raise ChargeKeysError("INNOSYSTEM_CHARGE_KEYS and INNOSYSTEM_CHARGE_KEYS_FILE are both set: unset one")
        self._file = Path(file) if file else None
        self._kept_seconds = kept_seconds
        self._read_at = monotonic()
        # What was read last; None if nothing of it is in force.
        self._text: str | None = "\n".join(text.split())
        self.ring = KeyRing(())
        if file or text:
            self._text = self._read()
            self.ring = self._parsed(self._text)
            log.info("charge_keys_read", key_ids=self.ring.ids)

    def __call__(self) -> KeyRing:
        """Return the keys."""
        return self.ring

    async def refresh(self) -> None:
        """Read the file again, and use its keys from now on if they have changed.

        Raises:
            ChargeKeysError: If that fails: the keys that were read last stay in force for `kept_seconds`.
        """
        try:
            text = await asyncio.to_thread(self._read)
            ring = self.ring if text == self._text else self._parsed(text)
        except ChargeKeysError as error:
            if self.ring and monotonic() - self._read_at >= self._kept_seconds:
                self._give_up(str(error))
            raise
        self._read_at = monotonic()
        if ring is not self.ring:
            self.ring, self._text = ring, text
            log.info("charge_keys_read", key_ids=ring.ids)

    def _give_up(self, reason: str) -> None:
        log.error("charge_keys_given_up", key_ids=self.ring.ids, error=reason)
        self.ring, self._text = KeyRing(()), None

    @property
    def loops(self) -> list[Loop]:
        """The background work that refreshes them; empty if they are not of a file."""
        return [Loop("charge keys", self.refresh, every=_REFRESH_EVERY)] if self._file is not None else []

    def _read(self) -> str:
        if self._file is None:
            return self._text or ""
        try:
            return self._file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ChargeKeysError(f"INNOSYSTEM_CHARGE_KEYS_FILE: {self._file} can't be read: {reason}") from None

    def _parsed(self, text: str) -> KeyRing:
        try:
            return KeyRing.parse(text)
        except ValueError as error:
            where = f"INNOSYSTEM_CHARGE_KEYS_FILE: {self._file}" if self._file else "INNOSYSTEM_CHARGE_KEYS"
            raise ChargeKeysError(f"{where}: {error}") from None


def new_key(key_id: str) -> Key:
    """Return a key with a new secret.

    Raises:
        ValueError: If the ID is none.
    """
    key = Key(key_id, secrets.token_bytes(_SECRET_LENGTH))
    KeyRing.parse(key.line)
    return key
