"""What callers send beside a request: credentials of all sorts, request IDs, traces, and what means nothing."""

import base64
import json
import random
from typing import Any

from tests.fuzz.support.callers import Caller

Metadata = tuple[tuple[str, str | bytes], ...]

_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
_BEYOND_THE_LIMIT = 20_000


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _jwt(choose: random.Random) -> str:
    algorithm = choose.choice(["none", "None", "HS256", "EdDSA", "RS256", "", 5, None, ["none"], {"a": 1}])
    header: Any = choose.choice(
        [{"alg": algorithm, "typ": "JWT"}, {"alg": algorithm, "kid": "../../etc/passwd"}, {}, [], "x", None]
    )
    if isinstance(header, dict) and choose.random() < 0.3:
        header |= choose.choice(
            [
                {"crit": ["b64"], "b64": False},
                {"jku": "https://a.example"},
                {"kid": "x" * 3000},
                {"kid": 5},
                {"zip": "DEF"},
            ]
        )
    claims = choose.choice(
        [
            {
                "iss": "innosystem",
                "sub": "operator/a",
                "kind": "operator",
                "exp": choose.choice([2**40, 1, -1, 1e400, "x", None, 1e18]),
            },
            {"sub": ["a"], "aud": {"a": 1}, "exp": {}, "iat": 2**70, "nbf": "now"},
            {"kind": "operator", "customers": "*", "queues": 5},
            [],
            "claims",
            5,
        ]
    )
    signature = choose.choice(["", "AAAA", "é".encode().hex(), "=" * 8, "A" * 86])
    parts = [_part(header), _part(claims), signature]
    return choose.choice(
        [
            ".".join(parts),
            ".".join(parts[:2]),
            ".".join(parts) + ".x.y",
            "..",
            ".",
            "." * 500,
            ".".join(parts).replace("e", "*"),
        ]
    )


def an_authorization(choose: random.Random) -> str:
    """The value of an authorization header that nobody was given."""
    bearer = choose.choice(["Bearer ", "bearer ", "BEARER ", "Bearer", "Bearer  ", "Token ", ""])
    return choose.choice(
        [
            "Basic " + base64.b64encode(b"operator:operator").decode(),
            "Basic !!!",
            "Basic",
            bearer,
            "",
            " ",
            bearer + _jwt(choose),
            bearer + _jwt(choose),
            bearer + _jwt(choose),
            bearer + "inno_" + "A" * choose.choice([0, 1, 42, 43, 44, 5000]),
            bearer + "inno_" + base64.urlsafe_b64encode(choose.randbytes(32)).rstrip(b"=").decode(),
            bearer + "inno_live_" + "0" * 43,
            bearer + "x" * choose.choice([1, 100, 6000]),
            bearer + " ".join("abc"),
            bearer + "%00%ff\\u0000'\";--",
            bearer + ",".join([_jwt(choose)] * 3),
            'Digest username="a", realm="b"',
        ]
    )


def a_metadata(choose: random.Random, caller: Caller) -> Metadata:
    """What goes with a request of a caller.

    Args:
        choose: Makes the same each time.
        caller: Whose credentials are in it.
    """
    if caller.token is None:
        own: Metadata = tuple(
            ("authorization", an_authorization(choose)) for _ in range(choose.choice([1, 1, 1, 2, 5]))
        )
    else:
        own = (("authorization", f"Bearer {caller.token}"),) if caller.token else ()
    return own if choose.random() < 0.7 else (*own, *_odd(choose))


def _odd(choose: random.Random) -> Metadata:
    value = "".join(choose.choices(_PRINTABLE, k=choose.choice([0, 1, 10, 128, 129, 1000]))).strip()
    name = "".join(choose.choices("abz09-_.", k=choose.randrange(1, 30)))
    odd: list[Any] = [
        (("x-request-id", value),),
        (("x-request-id", "a"), ("x-request-id", "b")),
        (
            (
                "traceparent",
                choose.choice(["00-" + "0" * 32 + "-" + "0" * 16 + "-00", "ff-" + "a" * 32, value, "00-" + "g" * 32]),
            ),
        ),
        (
            ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
            ("tracestate", ",".join(["a=b"] * 40)),
            ("baggage", value),
        ),
        (("x-" + name.strip("-_."), value),),
        (("x-binary-bin", choose.randbytes(choose.choice([0, 1, 100, 3000]))),),
        (("authorization-bin", choose.randbytes(20)),),
        (("grpc-status-details-bin", choose.randbytes(40)),),
        (("grpc-previous-rpc-attempts", choose.choice(["1", "99999999999", "x"])),),
        tuple((f"x-{number}", "v") for number in range(choose.choice([5, 60]))),
        (("x-large", "x" * choose.choice([4000, 7000, _BEYOND_THE_LIMIT])),),
        (("x-forwarded-for", "127.0.0.1"), ("x-real-ip", value), ("forwarded", "for=127.0.0.1")),
        (("x-innosystem-customer", "*"), ("x-innosystem-kind", "operator"), ("x-spiffe-id", "spiffe://a/operator/b")),
        (("cookie", value), ("user-agent", value)),
    ]
    chosen: Metadata = choose.choice(odd)
    return chosen
