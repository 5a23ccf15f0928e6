"""JSON Schemas (draft 2020-12) that the inputs of job types are checked against, at a cost that is known beforehand.

Validity is decided by `is_valid` alone, which visits each part of an input once for each part of the schema. The
library's explanation of an error follows every path that failed, which takes time and memory exponential in the depth
of an input of 200 bytes. So `problem` asks for the first error of a schema whose references and alternatives are
hidden, and then continues at the place that failed.
"""

from collections.abc import Sequence
from typing import Any

import jsonschema_rs
from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions

from services.jobs.rules.schemas import cost as schema_cost
from services.jobs.rules.schemas import payloads
from services.jobs.rules.schemas.cost import Document

#: The largest weight of a schema (`schema_cost`): beyond it, its references multiply.
WEIGHT_MAX = 100_000

# How often a pattern that looks around or back may try again before it counts as not matched.
_PATTERNS = FancyRegexOptions(backtrack_limit=100_000)
_LINEAR_PATTERNS = RegexOptions()

_STEPS_MAX = 32
_MESSAGE_MAX = 300
_ROOT = "urn:innosystem:schema"


class InvalidSchema(ValueError):
    """The text is not a usable JSON Schema; the message says why, and what would be right."""


class Schema:
    """A compiled schema.

    Attributes:
        cost: The cost of a check.

    Args:
        text: The schema as JSON text.

    Raises:
        InvalidSchema: If it is not a JSON Schema, cannot be stored, or refers to another document: no document is
            ever fetched.
    """

    def __init__(self, text: str) -> None:
        self._document = Document(_parsed(text))
        self._valid = _compiled(self._document.root, _PATTERNS)
        linear = all(_is_linear(pattern) for pattern in self._document.patterns)
        self.cost = schema_cost.of(self._document, linear=linear)
        self._first_errors: dict[str, Draft202012Validator] = {}

    def too_heavy(self) -> str | None:
        """Return why a new schema is refused; None if it is accepted. Stored schemas are used whatever their weight."""
        if self.cost.weight <= WEIGHT_MAX:
            return None
        return (
            f"its references multiply: followed one by one they come to more than {WEIGHT_MAX:,} parts;"
            " refer to a definition from fewer places, or check less of the input"
        )

    def problem(self, value: Any) -> str | None:
        """Return where and why a value does not satisfy the schema; None if it does."""
        try:
            if self._valid.is_valid(value):
                return None
            return self._explained(value)
        except jsonschema_rs.ValidationError:
            raise
        except ValueError as error:
            return f"it cannot be checked: {_short(str(error))} (it is nested too deeply, or has numbers too large)"

    def _explained(self, value: Any) -> str:
        place: list[str | int] = []
        reference, said = "#", "it is not valid"
        for _ in range(_STEPS_MAX):
            error = self._first_error(reference, value)
            if error is None:
                break
            place += error.instance_path
            said = error.message
            inner = _hidden_part(error)
            if inner is None:
                break
            said = _ALTERNATIVES.get(next(iter(inner)), said)
            if "$ref" not in inner:
                break
            reference, value = inner["$ref"].removeprefix(_ROOT), _at(value, error.instance_path)
            said = f"it is not valid under {reference}"
        where = "/".join(str(step) for step in place) or "the whole input"
        return f"at {_short(where)}: {_short(said)}"

    def _first_error(self, reference: str, value: Any) -> jsonschema_rs.ValidationError | None:
        if not self._document.is_plain:
            return None
        if reference not in self._first_errors:
            part = self._document.resolve(reference)
            registry = jsonschema_rs.Registry([(_ROOT, self._document.root)])
            self._first_errors[reference] = _compiled(_shallow(part), _PATTERNS, registry)
        try:
            self._first_errors[reference].validate(value)
        except jsonschema_rs.ValidationError as error:
            return error
        return None


_ALTERNATIVES = {
    "anyOf": "it is not valid under any of the schemas of anyOf",
    "oneOf": "it is not valid under exactly one of the schemas of oneOf",
}


def _parsed(text: str) -> Any:
    try:
        document = payloads.parse(payloads.check(text).text)
    except (payloads.NotStorable, payloads.TooLarge) as error:
        raise InvalidSchema(str(error)) from None
    if not isinstance(document, dict | bool):
        raise InvalidSchema("it must be a JSON object, or true or false")
    return document


def _compiled(
    document: Any, patterns: FancyRegexOptions | RegexOptions, registry: jsonschema_rs.Registry | None = None
) -> Draft202012Validator:
    try:
        return Draft202012Validator(document, retriever=_refuse, pattern_options=patterns, registry=registry)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        # Also unforeseen errors, such as a schema nested deeper than the library supports.
        raise InvalidSchema(_short(str(error).partition("\n")[0])) from None


def _is_linear(pattern: str) -> bool:
    """Return whether a pattern matches in time linear in the text: it has no lookaround and no backreferences."""
    try:
        _compiled({"pattern": pattern}, _LINEAR_PATTERNS)
    except InvalidSchema:
        return False
    return True


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is another document; put its definitions into $defs")


def _shallow(part: Any) -> Any:
    """Return the schema with its references and alternatives negated twice, so that their errors are not explained."""
    if isinstance(part, list):
        return [_shallow(one) for one in part]
    if not isinstance(part, dict):
        return part
    shallow: dict[str, Any] = {}
    hidden: list[Any] = []
    for keyword, value in part.items():
        if keyword in ("$ref", "anyOf", "oneOf"):
            hidden.append({"not": {"not": {keyword: _absolute(value, keyword)}}})
        elif keyword in schema_cost.IN_MAPS:
            shallow[keyword] = {name: _shallow(one) for name, one in value.items()}
        elif keyword in schema_cost.DIRECT:
            shallow[keyword] = _shallow(value)
        elif keyword not in ("$id", "$defs", "$schema", "$anchor"):
            shallow[keyword] = value
    if hidden:
        shallow["allOf"] = [*shallow.get("allOf", ()), *hidden]
    return shallow


def _absolute(value: Any, keyword: str = "") -> Any:
    """Return references in the form that they have outside of the document."""
    if keyword == "$ref":
        return _ROOT + value
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    if not isinstance(value, dict):
        return value
    absolute = {}
    for name, one in value.items():
        if name in schema_cost.IN_MAPS:
            absolute[name] = {key: _absolute(inner) for key, inner in one.items()}
        elif name == "$ref" or name in schema_cost.DIRECT:
            absolute[name] = _absolute(one, name)
        else:
            absolute[name] = one
    return absolute


def _hidden_part(error: jsonschema_rs.ValidationError) -> dict[str, Any] | None:
    """Return the hidden part that failed; None if the error is one of the schema's own."""
    if error.kind.name != "not" or not isinstance(schema := error.kind.schema, dict):  # type: ignore[attr-defined] # of this kind
        return None
    inner = schema.get("not")
    if list(schema) != ["not"] or not isinstance(inner, dict) or len(inner) != 1:
        return None
    return inner if next(iter(inner)) in ("$ref", "anyOf", "oneOf") else None


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def _short(text: str) -> str:
    return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "…"
