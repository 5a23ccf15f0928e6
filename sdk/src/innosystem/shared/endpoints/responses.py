"""What the response of an endpoint means."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self

from innosystem.shared.endpoints.json_paths import JsonPath, Missing

_SUCCESS: Final = range(200, 300)
# Request Timeout, Too Early, Too Many Requests: the request was not processed.
_RETRY: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


class Meaning(Enum):
    """What a response means for the job."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that responses match, or not.

    Attributes:
        first: The first status.
        last: The last status.
        path: Where the body must have a value; None for any body.
        equals_json: That value as JSON; empty for any value.
        meaning: What a response that matches means.
    """

    first: int
    last: int
    path: JsonPath | None
    equals_json: str
    meaning: Meaning

    @classmethod
    def parse(cls, first: int, last: int, path: str, equals_json: str, meaning: str) -> Self:
        """Parse a rule, with 0 for a status that is not set.

        Raises:
            ValueError: The rule is none.
        """
        first, last = first or 100, last or first or 599
        if first > last:
            raise ValueError("must have a status_to that is not below status_from")
        if equals_json and not path:
            raise ValueError("must have a path if it has equals_json")
        if meaning not in Meaning.__members__:
            raise ValueError("must have a meaning")
        if equals_json:
            try:
                json.loads(equals_json)
            except (ValueError, RecursionError):
                raise ValueError(f'must have JSON in equals_json, such as true or "busy": {equals_json!r}') from None
        return cls(first, last, JsonPath.parse(path) if path else None, equals_json, Meaning[meaning])

    def matches(self, status: int, body: Any) -> bool:
        """Return whether a response matches.

        Args:
            status: The status.
            body: The body as parsed JSON; text for one that is no JSON.
        """
        if not self.first <= status <= self.last:
            return False
        if self.path is None:
            return True
        try:
            value = self.path.find(body)
        except Missing:
            return False
        return not self.equals_json or _same(value, json.loads(self.equals_json))


def meaning(status: int, body: Any, rules: Sequence[Rule]) -> Meaning:
    """Return what a response means: by the first rule that it matches, or else by its status."""
    for rule in rules:
        if rule.matches(status, body):
            return rule.meaning
    if status in _SUCCESS:
        return Meaning.SUCCESS
    return Meaning.RETRY if status in _RETRY or status >= _SERVER_ERROR else Meaning.FAILURE


def _same(one: Any, other: Any) -> bool:
    """Compare JSON values; for Python, true is 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
