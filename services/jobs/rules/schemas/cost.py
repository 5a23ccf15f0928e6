"""The largest cost of checking an input against a JSON Schema, computed from the schema alone."""

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

# They depend on the results of other keywords, so the library cannot remember its result at a place.
_NOT_PLAIN = frozenset({"$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties", "$id"})

# The cost of a pattern in parts of a schema: of one that backtracks, and of one with bounded repetition.
_BACKTRACKING = 100_000
_REPEATED = 100
_BYTES_PER_VISIT = 16
# The check of a part takes about 10 ns, so this many take some milliseconds, which the event loop can spare.
_VISITS_MAX = 500_000
_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Cost:
    """The cost of a check.

    Attributes:
        weight: The number of parts of the schema with all references followed; circular ones count once.
        for_texts: The cost of its patterns for each text, in parts.
        is_known: Whether the library visits a place only once for each part; otherwise the weight is meaningless.
    """

    weight: int
    for_texts: int
    is_known: bool

    def is_small(self, text: str) -> bool:
        """Return whether an input can be checked, and its error explained, in some milliseconds."""
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
        """All objects in it, each of which may be a schema."""
        return list(_objects(self.root))

    @cached_property
    def is_plain(self) -> bool:
        """Whether all references can be resolved in it, and no part depends on the results of its neighbours."""
        below = (part for part in self.parts if part is not self.root)
        return (
            not any(_NOT_PLAIN & part.keys() for part in below)
            and not (isinstance(self.root, dict) and (_NOT_PLAIN - {"$id"}) & self.root.keys())
            and all(self.resolve(reference) is not None for reference in self.references)
        )

    @cached_property
    def references(self) -> list[str]:
        """The references of its parts."""
        return [part["$ref"] for part in self.parts if isinstance(part.get("$ref"), str)]

    @cached_property
    def patterns(self) -> list[str]:
        """Its regular expressions."""
        found = [part["pattern"] for part in self.parts if isinstance(part.get("pattern"), str)]
        maps = (part.get("patternProperties") for part in self.parts)
        return found + [pattern for one in maps if isinstance(one, dict) for pattern in one]

    def resolve(self, reference: str) -> Any:
        """Return the part that a reference names, if it is in this document."""
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
    """Return the cost of checks against a schema.

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
        # A chain of hundreds of references.
        return Cost(sys.maxsize, for_texts, is_known=False)
    return Cost(weight, for_texts, document.is_plain)


class _Weights:
    """Counts the parts of a schema in which each reference is replaced by the part that it names."""

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
