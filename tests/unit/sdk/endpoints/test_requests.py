"""Requests are made of templates: values keep their types in bodies, and their place in URLs and headers."""

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innosystem.shared.endpoints.placeholders import InputValue, JobValue, Placeholder, SecretValue, Template, Unfit
from innosystem.shared.endpoints.requests import UrlTemplate, parse_body, parse_headers, render_body, render_header


def values(input: Any) -> Any:
    def lookup(placeholder: Placeholder) -> Any:
        match placeholder:
            case InputValue(path):
                return path.find(input)
            case JobValue(name):
                return f"the {name}"
            case SecretValue(name):
                return f"secret of {name}"

    return lookup


def body(template: Any, input: Any) -> Any:
    return render_body(parse_body(json.dumps(template)), values(input))


def url(template: str, input: Any) -> str:
    return UrlTemplate.parse(template).render(values(input))


@pytest.mark.parametrize(
    "value", [None, True, False, 0, 1.5, 10**30, "text", "", [1, "a"], {"a": {"b": []}}, 'a "quote"']
)
def test_a_text_that_is_one_placeholder_becomes_the_value_with_its_type(value: Any) -> None:
    assert body({"a": "{$.x}", "all": ["{$}"]}, {"x": value}) == {"a": value, "all": [{"x": value}]}


def test_a_longer_text_has_the_values_as_text() -> None:
    template = {"note": "{$.count} of {$.name}, {$.ok}, {job.id}: {{$.name}}", "{$.name}": 1}

    assert body(template, {"count": 2, "name": "{$.count}", "ok": True}) == {
        "note": "2 of {$.count}, true, the id: {$.name}",
        "{$.name}": 1,
    }


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_value_without_a_form_as_text_does_not_fit_into_one(value: Any) -> None:
    with pytest.raises(Unfit):
        body({"note": "a {$.x}"}, {"x": value})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "a}b",
        "{x}",
        "{}",
        "{$.a",
        "{job.secret}",
        "{job}",
        "{secret:}",
        "{secret:../a}",
        "{ $.a}",
        "{$.a.*}",
        "{{}",
    ],
)
def test_what_is_no_placeholder_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|path"):
        Template.parse(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is no JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": "{secret:KEY}"}', "headers only"),
        ("[" * 200 + "]" * 200, "levels"),
        ("[" * 100_000, "nested too deep|is no JSON"),
    ],
)
def test_a_body_that_is_no_template_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_body(text)


def test_values_in_urls_are_percent_encoded() -> None:
    template = "https://api.example.com:8443/v1/{$.id}/items?q={$.q}&job={job.id}&n={$.n}"

    assert url(template, {"id": "a/b?c#d e%", "q": "x&y=z", "n": 1}) == (
        "https://api.example.com:8443/v1/a%2Fb%3Fc%23d%20e%25/items?q=x%26y%3Dz&job=the%20id&n=1"
    )
    assert url("https://api.example.com", {}) == "https://api.example.com/"


@pytest.mark.parametrize("value", ["", ".", "..", None, [], {}])
def test_a_value_that_would_change_the_path_does_not_fit(value: Any) -> None:
    with pytest.raises(Unfit):
        url("https://api.example.com/v1/{$.id}", {"id": value})


@given(
    st.text(min_size=1).filter(
        lambda text: text not in (".", "..") and not any("\ud800" <= c <= "\udfff" for c in text)
    )
)
def test_no_value_changes_host_or_segments_of_a_url(value: str) -> None:
    parts = urlsplit(url("https://api.example.com/v1/{$.id}/x?q={$.id}", {"id": value}))

    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "v1", value, "x"]
    assert unquote(parts.query) == f"q={value}"


@pytest.mark.parametrize(
    "template",
    [
        "",
        "api.example.com",
        "ftp://api.example.com/",
        "https:///a",
        "https://{$.host}/",
        "https://a{$.b}.example/",
        "https://u:p@api.example.com/",
        "https://api.example.com/#a",
        "https://api.example.com/a b",
        "https://é.example/",
        "https://api.example.com/{secret:KEY}",
        "https://api.example.com/?key={secret:KEY}",
        "https://api.example.com\\@b/",
        "https://api.example.com/a/../b",
        "https://api.example.com/{$.a",
        "https://api.example.com/\n",
        "file://a.example/document",
    ],
)
def test_a_url_that_values_could_turn_elsewhere_or_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"must|may|placeholder"):
        UrlTemplate.parse(template)


def test_headers_have_secrets_and_values() -> None:
    headers = parse_headers({"Authorization": "Bearer {secret:KEY}", "X-Of": "{$.name}", "X-Fixed": "1"})
    rendered = {name: render_header(template, values({"name": "Ada"})) for name, template in headers.items()}

    assert rendered == {"Authorization": "Bearer secret of KEY", "X-Of": "Ada", "X-Fixed": "1"}


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00", "é", None])
def test_a_value_that_would_add_a_header_does_not_fit(value: Any) -> None:
    with pytest.raises(Unfit):
        render_header(parse_headers({"X-Of": "{$.name}"})["X-Of"], values({"name": value}))


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ({"A b": "1"}, "no name of a header"),
        ({"A\r\nB": "1"}, "no name of a header"),
        ({"A": "1\r\nB: 2"}, "line break"),
        ({"Host": "evil.example"}, "set by the runner"),
        ({"content-length": "0"}, "set by the runner"),
        ({"Idempotency-Key": "mine"}, "set by the runner"),
        ({"Proxy-Connection": "a"}, "set by the runner"),
        ({"Authorization": "Bearer sk-123"}, "must take its secret from the runner"),
        ({"x-api-key": "{$.key}"}, "must take its secret from the runner"),
        ({"A": "1", "a": "2"}, "once"),
        ({"A": "{secret:}"}, "placeholder"),
    ],
)
def test_a_header_that_is_not_allowed_is_refused(headers: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_headers(headers)
