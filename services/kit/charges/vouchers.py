"""Charge tokens and receipts: who vouches for what, and the bytes.

    charge token:  version, key ID, not after, job, customer, currency, amount, hold, code      101 bytes
    receipt:       version, key ID, transaction, job, amount, code                               73 bytes

All fields have fixed lengths, so that no two different contents have the same bytes. The code covers everything before
it. It is keyed for the one purpose or for the other.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from hmac import compare_digest
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID

from services.kit.auth.principal import Kind, Principal
from services.kit.charges.keys import CHARGE, MAC_LENGTH, RECEIPT, KeyRing

#: How long a charge token is valid: much longer than a runner tries to make a charge (RUNNER_CHARGE_SECONDS).
TOKEN_LIFE: Final = timedelta(hours=1)

_VERSION: Final = 1
_CHARGE_HEAD: Final = Struct(">B16sq")
_CHARGE: Final = Struct(">16s16s3sq?16s")
_RECEIPT: Final = Struct(">B16s16s16sq")
_CHARGE_LENGTH: Final = _CHARGE_HEAD.size + _CHARGE.size + MAC_LENGTH
_RECEIPT_LENGTH: Final = _RECEIPT.size + MAC_LENGTH
_NO_HOLD: Final = bytes(16)
# What they say about charges is believed without proof.
_TRUSTED: Final = frozenset({Kind.SERVICE, Kind.OPERATOR})


class Charge(NamedTuple):
    """The charge that a token authorises."""

    job_id: UUID
    customer_id: UUID
    currency: str
    amount_cents: int
    hold_id: UUID | None


class Vouchers:
    """Makes and reads charge tokens and receipts.

    Args:
        keys: Returns the keys that are in force.
        now: Returns the time.
    """

    def __init__(self, keys: Callable[[], KeyRing], now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._now = now

    def must_prove(self, caller: Principal, proof: bytes) -> bool:
        """Return whether a caller has to prove what it says about a charge, by a charge token or a receipt.

        Where no authentication is required, a proof is only checked if there is one, and keys.

        Args:
            caller: The caller.
            proof: The proof that it has sent.
        """
        if caller.kind is None:
            return bool(proof) and bool(self._keys())
        return caller.kind not in _TRUSTED

    def charge_tokens(self) -> Callable[[Charge], bytes]:
        """Return what makes the charge tokens of one call: each is valid from now on for `TOKEN_LIFE`.

        Without keys, they are empty.
        """
        key = self._keys().signing
        if key is None:
            return lambda _: b""
        head = _CHARGE_HEAD.pack(_VERSION, key.name, int((self._now() + TOKEN_LIFE).timestamp()))

        def charge_token(charge: Charge) -> bytes:
            message = head + _packed(charge)
            return message + key.mac(CHARGE, message)

        return charge_token

    def authorising_key(self, charge: Charge, token: bytes) -> str | None:
        """Return the ID of the key by which a token authorises exactly this charge; None if it does not."""
        key_id = self._valid_key(token)
        fields = token[_CHARGE_HEAD.size : -MAC_LENGTH]
        return key_id if key_id is not None and fields == _packed(charge) else None

    def authorises_charge_of(self, job_id: UUID, token: bytes) -> bool:
        """Return whether a token authorises the charge of a job, whatever it costs."""
        return self._valid_key(token) is not None and _CHARGE.unpack_from(token, _CHARGE_HEAD.size)[0] == job_id.bytes

    def receipt(self, transaction_id: UUID, job_id: UUID, amount_cents: int) -> bytes:
        """Return the receipt of the deduction that charged a job; empty without keys."""
        key = self._keys().signing
        if key is None:
            return b""
        message = _RECEIPT.pack(_VERSION, key.name, transaction_id.bytes, job_id.bytes, amount_cents)
        return message + key.mac(RECEIPT, message)

    def amount_charged(self, receipt: bytes, transaction_id: UUID, job_id: UUID) -> int | None:
        """Return how much a transaction charged for a job, in cents; None if the receipt does not show that it did."""
        if len(receipt) != _RECEIPT_LENGTH:
            return None
        version, name, transaction, job, amount_cents = _RECEIPT.unpack_from(receipt)
        key = self._keys().named(name)
        if version != _VERSION or key is None or (transaction, job) != (transaction_id.bytes, job_id.bytes):
            return None
        message, code = receipt[:-MAC_LENGTH], receipt[-MAC_LENGTH:]
        return int(amount_cents) if compare_digest(code, key.mac(RECEIPT, message)) else None

    def _valid_key(self, token: bytes) -> str | None:
        if len(token) != _CHARGE_LENGTH:
            return None
        version, name, not_after = _CHARGE_HEAD.unpack_from(token)
        key = self._keys().named(name)
        message, code = token[:-MAC_LENGTH], token[-MAC_LENGTH:]
        if version != _VERSION or key is None or not compare_digest(code, key.mac(CHARGE, message)):
            return None
        return key.id if self._now().timestamp() <= not_after else None


def _packed(charge: Charge) -> bytes:
    job_id, customer_id, currency, amount_cents, hold_id = charge
    hold = _NO_HOLD if hold_id is None else hold_id.bytes
    return _CHARGE.pack(job_id.bytes, customer_id.bytes, currency.encode(), amount_cents, hold_id is not None, hold)
