"""Texts that have been trouble somewhere: JSON, schemas, Unicode, and filters by their grammar."""

import random
from collections.abc import Sequence

JSON = [
    "", "[" * 300 + "]" * 300, "[" * 5000 + "]" * 5000, "{" * 50, '"\\ud800"', '"\\u0000"', "[1e308, 1e-308, 1e0001]",
    '"text"', "true", "5", "null", "NaN", "[-Infinity]", "1" * 5000, '{"a":1,"a":2}', '{"":{"":{"":""}}}', "\ufeff{}",
    '{"type": "object", "properties": {"a": {"$ref": "#"}}}', '{"$ref": "#/nowhere"}',
    '{"pattern": "(a*)*\\\\1(?!b)"}', '{"$dynamicRef": "#a"}', '{"$id": "::"}', '{"const": 1e308}',
    '{"multipleOf": 1e-308}', '{"enum": [[[]]]}', "1e999", '{"not": ' * 300 + "{}" + "}" * 300,
    '{"$ref": "https://a.example/b"}', '{"type": 5}', '{"required": "a"}', "[]",
    '{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}', '{"maxLength": -1}',
    '{"a": "' + "x" * 9000 + '"}', '{"$schema": "x"}', '{"patternProperties": {"(": {}}}', '{"minItems": 1e400}',
    '{"format": "regex", "pattern": "^(a+)+$"}',
]  # fmt: skip
TEXTS = [
    "", " ", "\0", "x", "x" * 300, "x" * 70_000, "\U0001d11e" * 80, "\u202e", "%", "'", '"', "\\", "null", "-1",
    "\n\r\t", "a@example.com", "eur", "default", "AWAY", "00000000-0000-0000-0000-000000000000", "job:x",
    "write-off:x", "\x7f\x1b[31m", "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000", "\ufffe", "A" * 64, "%s%n{0}", "0" * 32,
    "00000000-0000-0000-0000-00000000000G", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "a\u0301" * 60, "İ", "ß" * 200,
    "../../etc/passwd", "'; DROP TABLE jobs; --", "${jndi:x}", "*", "1" * 400, "\ud7ff\ue000", "\U0010ffff",
]  # fmt: skip
FILTERS = [
    'status = "PENDING"', "status = PENDING AND NOT", "(" * 40, "a = 1 " * 200, 'labels."\0" = "a"', "labels.a:*",
    "id < 5", "created_at desc", "id, id", "amount_cents > 9223372036854775808", 'name = "*"', '"' * 5000, "(" * 5000,
    'created_at > "9999-12-31T23:59:59Z"', 'created_at < "0001-01-01T00:00:00+14:00"', "-" * 400, "NOT " * 200,
]  # fmt: skip

_FIELDS = [
    "id", "status", "billing_status", "priority", "queue", "labels", "labels.a", 'labels."b c"', "error.type",
    "attempt", "cost_cents", "estimated_cost_cents", "created_at", "run_at", "completed_at", "updated_at", "name",
    "email", "customer_id", "wallet_id", "job_id", "job_type_id", "job_type", "state", "kind", "amount_cents",
    "balance_cents", "currency", "enabled", "paused", "host", "queues", "handlers", "version", "started_at",
    "seen_at", "hold_id", "sequence", "expires_at", "revoked_at", "nothing", "a.b.c", "ID", "_",
]  # fmt: skip
_SORTED = ["id", "created_at", "name"]
_OPERATORS = ["=", "!=", "<", "<=", ">", ">=", ":", "==", "~", "", " = = "]
_VALUES = [
    "*", '"*"', "PENDING", "SUCCEEDED", "ACTIVE", "CREDIT", "true", "FALSE", "1", "-1", "0", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "1.5", "1e5", '""', '"a"', '"*a"', '"a*"', '"a*b"', "'a'", '"\\""',
    '"%_\\\\"', '"2026-11-29T00:00:00Z"', '"2026-11-29"', "2026-11-29T00:00:00Z", '"9999-12-31T23:59:60Z"',
    '"0001-01-01T00:00:00+23:59"', "EUR", '"fuzz"', "null", "(1)", "00000000-0000-0000-0000-000000000000",
    '"00000000-0000-0000-0000-000000000000"', "\U0001d11e", '"\udbff"'.encode("utf-8", "replace").decode(), "x" * 300,
    "NOT", "AND", "2.5s", "-", "99999999999999999999999999",
]  # fmt: skip
_DEPTH_MAX = 8


def a_filter(choose: random.Random, fields: Sequence[str], depth: int = 0) -> str:
    """A filter by the grammar of AIP-160, or nearly one.

    Args:
        choose: Makes the same each time.
        fields: Most of the fields that it names.
        depth: How deep it is already.
    """
    roll = choose.random()
    if depth > _DEPTH_MAX or roll < 0.45:
        space = choose.choice([" ", "", "  ", "\t"])
        return (
            choose.choice([*_FIELDS, *list(fields) * 8])
            + space
            + choose.choice(_OPERATORS[:8] * 4 + _OPERATORS)
            + space
            + choose.choice(_VALUES)
        )
    if roll < 0.55:
        return choose.choice(["NOT ", "-", "not ", "NOT NOT "]) + a_filter(choose, fields, depth + 1)
    if roll < 0.7:
        return f"({a_filter(choose, fields, depth + 1)}{choose.choice([')', ')', ')', ' )', '', '))'])}"
    joint = choose.choice([" AND ", " OR ", " ", " and ", " AND NOT ", ", "])
    return a_filter(choose, fields, depth + 1) + joint + a_filter(choose, fields, depth + 1)


def an_order(choose: random.Random, fields: Sequence[str]) -> str:
    """An order, or nearly one."""
    parts = [
        choose.choice([*_FIELDS, *list(fields) * 8, *_SORTED * 4])
        + choose.choice(["", " desc", " asc", " DESC", "  desc ", " down"])
        for _ in range(choose.randrange(1, 4))
    ]
    return choose.choice([", ", ",", " , ", ",,", ";"]).join(parts)


def a_token(choose: random.Random, real: str) -> str:
    """A page token that a list has given, whole, cut, altered or made up."""
    if not real:
        return "A" * choose.choice([1, 4, 24, 4096, 4097])
    place = choose.randrange(len(real))
    letter = choose.choice("AZaz09-_=+/ é")
    return choose.choice(
        [
            real,
            real[:place],
            real[place:],
            real[:place] + letter + real[place + 1 :],
            real + letter,
            real + real,
            real[::-1],
            real + "==",
        ]
    )
