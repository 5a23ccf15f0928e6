"""Comparison of a repeated create with the parameters of the first.

The row keeps a digest of each parameter of its creation, in a fixed order, because the values themselves may change
later. Eight bytes a parameter: a collision takes 2^32 attempts by a caller that would only deceive itself.
"""

from collections.abc import Mapping
from hashlib import blake2b

from services.kit.errors import IdempotencyKeyReused

_BYTES = 8


def digest(parameters: Mapping[str, object]) -> bytes:
    """Return the digest of the parameters of a create, 8 bytes each, in their order.

    Args:
        parameters: Name to value; values are distinguished by their `repr`. Later releases may append parameters, and
            must omit an appended parameter that has its default.
    """
    return b"".join(
        blake2b(repr(value).encode(errors="surrogatepass"), digest_size=_BYTES).digest()
        for value in parameters.values()
    )


def check_same(parameters: Mapping[str, object], stored: bytes) -> None:
    """Check that a repeated create has the parameters of the first.

    Args:
        parameters: The parameters of the repeated call.
        stored: The digest of the first call.

    Raises:
        IdempotencyKeyReused: If parameters differ; names them.
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
