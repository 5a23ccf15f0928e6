"""Paths are the singular queries of RFC 9535: one value, or none."""

from typing import Any

import pytest

from innosystem.shared.endpoints.json_paths import JsonPath, Missing

DOCUMENT = {
    "a": {"b": [10, {"c": None}, "text"]},
    "unit price": 3,
    "it's": 4,
    'say "x"': 5,
    "é": 6,
    "x.y": 7,
    "": 8,
    "}": 9,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.a.b[0]", 10),
        ("$.a.b[-1]", "text"),
        ("$['a']['b'][1].c", None),
        ('$["unit price"]', 3),
        (r"$['it\'s']", 4),
        ('$["it\'s"]', 4),
        ("$['say \"x\"']", 5),
        (r'$["say \"x\""]', 5),
        ("$.é", 6),
        (r"$['\u00e9']", 6),
        ("$['x.y']", 7),
        ("$['']", 8),
        ("$['}']", 9),
    ],
)
def test_a_path_leads_to_one_value(path: str, value: Any) -> None:
    assert JsonPath.parse(path).find(DOCUMENT) == value


@pytest.mark.parametrize(
    "path", ["$.b", "$.a.b[3]", "$.a.b[-4]", "$.a[0]", "$.a.b.c", "$.a.b[2][0]", "$.a.b[0].c", "$[0]"]
)
def test_a_path_without_a_value_is_missing(path: str) -> None:
    with pytest.raises(Missing):
        JsonPath.parse(path).find(DOCUMENT)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "$.",
        "$a",
        "$.a.*",
        "$..a",
        "$.a[*]",
        "$.a[0:1]",
        "$.a[?@.b]",
        "$.a['b','c']",
        "$.1a",
        "$[01]",
        "$[-0]",
        "$['a",
        "$[a]",
        "$.a b",
        "$." + "a" * 1000,
        "$['\\x']",
    ],
)
def test_what_is_no_path_to_one_value_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|escape"):
        JsonPath.parse(path)
