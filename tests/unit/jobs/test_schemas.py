"""Schemas: what is taken, what is said of an input that does not satisfy one, and what all of that may cost."""

import json
from time import process_time
from typing import Any

import pytest

from services.jobs.rules.schemas.schema import InvalidSchema, Schema

NODE: dict[str, Any] = {"$ref": "#/$defs/node"}
LIMIT_SECONDS = 1


def recursive(node: dict[str, Any]) -> str:
    return json.dumps({"$defs": {"node": node}, "$ref": "#/$defs/node"})


def nested(depth: int, leaf: Any = "x") -> Any:
    value = leaf
    for _ in range(depth):
        value = {"a": value}
    return value


DEEPER: dict[str, Any] = {"type": "object", "properties": {"a": NODE}, "required": ["a"]}
# Each takes the library's own description of an error more than a minute, or more memory than there is.
MULTIPLYING: dict[str, dict[str, Any]] = {
    "oneOf": {"oneOf": [DEEPER, DEEPER | {"properties": {"a": NODE, "b": {}}}, {"type": "number"}]},
    "anyOf": {"anyOf": [DEEPER | {"required": ["b"]}, DEEPER | {"required": ["c"]}, {"type": "number"}]},
    "allOf": {"allOf": [{"properties": {"a": NODE}}, {"properties": {"a": NODE}}], "type": ["object", "number"]},
    "allOf of references": {"type": ["object", "number"], "properties": {"a": {"allOf": [NODE, NODE]}}},
    "unevaluated": {"type": ["object", "number"], "anyOf": [DEEPER, DEEPER], "unevaluatedProperties": NODE},
}


@pytest.mark.parametrize("node", MULTIPLYING.values(), ids=MULTIPLYING)
def test_a_small_input_of_a_recursive_schema_is_refused_at_once(node: dict[str, Any]) -> None:
    schema, began_at = Schema(recursive(node)), process_time()
    assert schema.problem(nested(30)) is not None
    assert process_time() - began_at < LIMIT_SECONDS


@pytest.mark.parametrize("node", MULTIPLYING.values(), ids=MULTIPLYING)
def test_a_small_input_that_is_valid_passes_at_once(node: dict[str, Any]) -> None:
    schema, began_at = Schema(recursive(node)), process_time()
    schema.problem(nested(30, 1))
    assert process_time() - began_at < LIMIT_SECONDS


NULL_AT_AN_ANCHOR = {"$defs": {"a": {"$anchor": "here", "type": "null"}}, "items": {"$ref": "#here"}}
AT_LEAST_1 = {"items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"minimum": 1}}}
BY_TURNS = {"$id": "https://a.example/b", "items": NODE, "$defs": {"node": {"items": {"$ref": "#"}, "maxItems": 1}}}
NULL_OR_TEXT = {"items": {"anyOf": [{"type": "null"}, {"type": "string"}]}}


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "integer"}, "one", 'at the whole input: "one" is not of type "integer"'),
        ({"properties": {"n": {"type": "integer"}}}, {"n": "one"}, 'at n: "one" is not of type "integer"'),
        ({"required": ["n"]}, {}, 'at the whole input: "n" is a required property'),
        (AT_LEAST_1, [1, 0], "at 1: 0 is less than the minimum of 1"),
        (BY_TURNS, [[[[[], []]]]], "at 0/0/0: [[],[]] has more than 1 item"),
        (NULL_OR_TEXT, [1], "at 0: it is not valid under any of the schemas of anyOf"),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, "at the whole input: it is not valid under exactly one of"),
        ({"not": {"type": "string"}}, "a", 'at the whole input: {"type":"string"} is not allowed for "a"'),
        ({"properties": {"$ref": {"type": "string"}}}, {"$ref": 1}, 'at $ref: 1 is not of type "string"'),
        (NULL_AT_AN_ANCHOR, [1], 'at 0: 1 is not of type "null"'),
        (False, 1, "at the whole input: False schema does not allow 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(schema: Any, value: Any, said: str) -> None:
    problem = Schema(json.dumps(schema)).problem(value)
    assert problem is not None
    assert problem.startswith(said)


def test_what_is_wrong_is_said_in_few_words_however_large_the_input_is() -> None:
    problem = Schema('{"type": "integer"}').problem("x" * 1_000_000)
    assert problem is not None
    assert len(problem) < 1000


def test_an_input_nested_deeper_than_the_checker_goes_is_refused_and_no_accident() -> None:
    value: Any = 1
    for _ in range(1000):
        value = [value]
    schema = Schema('{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "const": 1}}, "$ref": "#/$defs/a"}')
    assert "nested" in str(schema.problem({"a": value}) or schema.problem(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"text"', "JSON object, or true or false"),
        ('"{}"', "JSON object, or true or false"),
        ("5", "JSON object, or true or false"),
        ("null", "JSON object, or true or false"),
        ("[]", "JSON object, or true or false"),
        ("{", "not valid JSON"),
        ('{"type": 5}', "is not valid under any of the schemas"),
        ('{"$ref": "https://example.com/schema.json"}', "put its definitions into \\$defs"),
        ('{"$ref": "#/nowhere"}', "does not exist"),
        ('{"pattern": "("}', "regex"),
        ('{"pattern": "^(([a-z]{1,100}){1,100}){1,100}$"}', "regex"),
        ('{"not": ' * 300 + "{}" + "}" * 300, "Recursion limit"),
    ],
)
def test_a_schema_that_can_not_be_used_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidSchema, match=said):
        Schema(text)


@pytest.mark.parametrize("text", ["true", "false", "{}"])
def test_a_schema_may_be_true_false_or_empty(text: str) -> None:
    assert (Schema(text).problem(1) is None) == (text != "false")


def test_a_schema_whose_references_multiply_is_too_heavy() -> None:
    def doubling(depth: int) -> Schema:
        defs: dict[str, Any] = {
            f"d{one}": {"anyOf": [{"$ref": f"#/$defs/d{one + 1}"}, {"$ref": f"#/$defs/d{one + 1}"}]}
            for one in range(depth)
        }
        return Schema(json.dumps({"$defs": defs | {f"d{depth}": {"type": "string"}}, "$ref": "#/$defs/d0"}))

    assert "references multiply" in (doubling(24).too_heavy() or "")
    assert "references multiply" in (doubling(600).too_heavy() or "")
    assert doubling(8).too_heavy() is None
    assert not doubling(24).cost.is_small("1")
    assert doubling(8).cost.is_small("1")


@pytest.mark.parametrize("pattern", [r"^(a|a)*\1?(?!b)c$", r"^(?=((a|aa)+)$)\2x", "^(a|a)*$"])
def test_a_pattern_that_tries_again_and_again_gives_up_soon(pattern: str) -> None:
    schema, began_at = Schema(json.dumps({"items": {"pattern": pattern}})), process_time()
    assert schema.problem(["a" * 40 + "!"] * 100) is not None
    assert process_time() - began_at < LIMIT_SECONDS


def test_an_input_is_small_work_only_while_schema_and_input_are() -> None:
    schema = Schema(json.dumps({"items": {"allOf": [{"minimum": -one} for one in range(100)]}}))
    assert schema.cost.is_small("[1, 2, 3]")
    assert not schema.cost.is_small("[" + ",".join(["1"] * 30_000) + "]")
    assert not Schema('{"pattern": "(a|b)*\\\\1(?!c)"}').cost.is_small('"' + "a" * 2000 + '"')
    assert not Schema(recursive(MULTIPLYING["unevaluated"])).cost.is_small("1")
