"""The mapping says who callers of other issuers are; what is wrong in it is named, and opens nothing."""

import json
import re
from uuid import uuid4

import pytest

from services.kit.auth.grants import read_callers

ISSUER = "issuers: {https://issuer.example: {keys: keys.json, subjects: {ada: {kind: operator}}}}"


def test_yaml_and_json_are_read_alike() -> None:
    customer = str(uuid4())
    document = {
        "issuers": {
            "https://issuer.example": {
                "keys": "https://issuer.example/keys",
                "audience": "jobs",
                "ca_file": "ca.pem",
                "token_file": "token",
                "subjects": {"a b": {"kind": "client", "name": "shop", "customers": [customer]}},
            }
        },
        "certificates": {"spiffe://cluster.local/ns/x/sa/y": {"kind": "runner", "queues": "all"}},
    }
    callers = read_callers(json.dumps(document).encode())
    assert callers.model_dump(mode="json", exclude_unset=True) == document
    assert callers.certificates["spiffe://cluster.local/ns/x/sa/y"].caller("y", "certificate").actor == "runner/y"


@pytest.mark.parametrize("empty", ["", "{}", "issuers: {}", "# nothing yet"])
def test_an_empty_mapping_names_nobody(empty: str) -> None:
    callers = read_callers(empty.encode())
    assert (callers.issuers, callers.certificates) == ({}, {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("issuers: [", "no YAML"),
        ("7", "valid dictionary"),
        ("issuer: {}", "issuer: Extra inputs"),
        ("!!python/object/apply:os.system ['true']", "no YAML"),
        (ISSUER.replace("operator", "root"), "issuers.https://issuer.example.subjects.ada.kind"),
        (ISSUER.replace("operator", "runner"), "a runner needs queues: a list, or `all`"),
        (ISSUER.replace("operator", "client"), "a client needs customers"),
        (ISSUER.replace("operator", "runner, queues: []"), "queues"),
        (ISSUER.replace("operator", "operator, queues: all"), "queues are for a runner"),
        (ISSUER.replace("operator", "client, customers: [shop]"), "customers"),
        (ISSUER.replace("operator", "operator, name: a/b"), "a name has"),
        (ISSUER.replace("ada", "a/b"), "a/b needs a `name`"),
        (ISSUER.replace("keys.json", "http://issuer.example/keys"), "https://"),
        (ISSUER.replace("keys: keys.json, ", ""), "keys: Field required"),
        (ISSUER.replace("{ada: {kind: operator}}", "{}"), "subjects"),
        ("certificates: {/ns/x/sa/y: {kind: operator}}", "certificates"),
        ("certificates: {'spiffe://a/b c': {kind: operator}}", "needs a `name`"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_callers(text.encode())


@pytest.mark.parametrize("what", ["[" * 1100, "{a: " * 1100])
def test_a_mapping_too_deep_to_read_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match="no YAML"):
        read_callers(what.encode())
