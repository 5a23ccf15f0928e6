"""What a check of an input with a JSON Schema costs at most, told from the schema before any input is looked at."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

#: Keywords whose value is a schema or a list of schemas.
DIRECT = frozenset(
    {
        "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "items", "prefixItems", "contains",
        "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema",
    }
)  # fmt: skip
#: Keywords whose value is a map of schemas.
IN_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})

# They look at what other keywords have looked at, so that the library can't remember what it found at a place.
_NOT_PLAIN = frozenset({"$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties", "$id"})

# What a check is worth in parts of a schema: a pattern that tries again and again, and a long one.
_BACKTRACKING = 100_000
_REPEATED = 100
_BYTES_PER_VISIT = 16
# A check of a part takes about 10 ns: all of these are some milliseconds, which the event loop can spare.
_VISITS_MAX = 500_000
_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Cost:
    """What a check costs.

    Attributes:
        weight: How many parts the schema has when its references are followed, those that lead back counted once.
        for_texts: What its patterns cost for each text, in parts.
        is_known: Whether the library looks at a place only once for each part; else the weight says nothing.
    """

    weight: int
    for_texts: int
    is_known: bool

    def is_small(self, text: str) -> bool:
        """Whether an input can be checked and explained in some milliseconds."""
        if len(text) > _BYTES_MAX or not self.is_known:
            return False
        places = 1 + text.count(",") + text.count(":") + text.count("[") + text.count("{")
        visits = places * self.weight + len(text) * self.for_texts // _BYTES_PER_VISIT
        return visits <= _VISITS_MAX


class Document:
    """A schema as a tree of parts.

    Args:
        root: The parsed schema.
    """

    def __init__(self, root: Any) -> None:
        self.root = root

    @cached_property
    def parts(self) -> list[dict[str, Any]]:
        """Everything in it that is or may be a schema."""
        return list(_objects(self.root))

    @cached_property
    def is_plain(self) -> bool:
        """Whether all references can be followed here, and no part depends on what its neighbours have looked at."""
        below = (part for part in self.parts if part is not self.root)
        return (
            not any(_NOT_PLAIN & part.keys() for part in below)
            and not (isinstance(self.root, dict) and (_NOT_PLAIN - {"$id"}) & self.root.keys())
            and all(self.resolve(reference) is not None for reference in self.references)
        )

    @cached_property
    def references(self) -> list[str]:
        """What its parts refer to."""
        return [part["$ref"] for part in self.parts if isinstance(part.get("$ref"), str)]

    @cached_property
    def patterns(self) -> list[str]:
        """Its regular expressions."""
        found = [part["pattern"] for part in self.parts if isinstance(part.get("pattern"), str)]
        maps = (part.get("patternProperties") for part in self.parts)
        return found + [pattern for one in maps if isinstance(one, dict) for pattern in one]

    def resolve(self, reference: str) -> Any:
        """The part that a reference names; None if it is not found here."""
        if not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            named = (part for part in self.parts if pointer in (part.get("$anchor"), part.get("$dynamicAnchor")))
            return next(named, None)
        found = self.root
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return found


def of(document: Document, *, linear: bool) -> Cost:
    """What checks with a schema cost.

    Args:
        document: The schema.
        linear: Whether all patterns are matched in time linear in the text.
    """
    for_texts = sum(_REPEATED if "{" in pattern else 1 for pattern in document.patterns)
    if not linear:
        for_texts += _BACKTRACKING
    try:
        weight = _Weights(document).of(document.root)
    except RecursionError:
        # One reference leads to the next, hundreds of times.
        return Cost(sys.maxsize, for_texts, is_known=False)
    return Cost(weight, for_texts, document.is_plain)


class _Weights:
    """Counts the parts of a schema as they are when each reference is replaced by what it names."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[int, int] = {}
        self._open: set[int] = set()

    def of(self, part: Any) -> int:
        if not isinstance(part, dict | list):
            return 1
        key = id(part)
        if key in self._open:
            return 1
        if key not in self._known:
            self._open.add(key)
            values = part.values() if isinstance(part, dict) else part
            self._known[key] = 1 + sum(self.of(value) for value in values) + self._of_reference(part)
            self._open.remove(key)
        return self._known[key]

    def _of_reference(self, part: Any) -> int:
        reference = part.get("$ref") if isinstance(part, dict) else None
        return self.of(self._document.resolve(reference)) if isinstance(reference, str) else 0


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            yield one
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
