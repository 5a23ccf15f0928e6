"""Tells whether a repeated create has the parameters of the first.

The row keeps a digest of each parameter it was created with, in a fixed order, because the values themselves may be
changed later. Eight bytes a parameter: a collision would need 2^32 tries by a caller who could only deceive itself.
"""

from collections.abc import Mapping
from hashlib import blake2b

from services.kit.errors import IdempotencyKeyReused

_BYTES = 8


def digest(parameters: Mapping[str, object]) -> bytes:
    """Digests the parameters of a create, 8 bytes each, in their order.

    Args:
        parameters: Name to value; values are told apart by their `repr`. Later releases may append parameters, and
            must leave an appended one out where it has its default.
    """
    return b"".join(
        blake2b(repr(value).encode(errors="surrogatepass"), digest_size=_BYTES).digest()
        for value in parameters.values()
    )


def check_same(parameters: Mapping[str, object], stored: bytes) -> None:
    """Checks that a repeated create has the parameters of the first.

    Args:
        parameters: What the repeated call carries.
        stored: The digest of the first.

    Raises:
        IdempotencyKeyReused: Naming the parameters that differ.
    """
    present = digest(parameters)
    if present == stored:
        return
    names = list(parameters)
    size = max(len(present), len(stored))
    differing = tuple(
        names[at // _BYTES] if at // _BYTES < len(names) else "others"
        for at in range(0, size, _BYTES)
        if present[at : at + _BYTES] != stored[at : at + _BYTES]
    )
    raise IdempotencyKeyReused(differing)
