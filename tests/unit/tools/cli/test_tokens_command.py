"""`innosystem tokens` makes keys and tokens, and says of a token whose it is and why services refuse it."""

import io
import json
from pathlib import Path
from uuid import uuid4

import pytest

from tools.cli.__main__ import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a key."""
    monkeypatch.chdir(tmp_path)
    assert main(["tokens", "keys", "create"]) == 0
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_printed_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()


def create(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["tokens", "create", *options]) == 0
    token = capsys.readouterr().out
    assert token.count("\n") == 1
    return token.strip()


def explain(token: str, *options: str) -> int:
    """Run `tokens show` with a token on standard input; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(token + "\n"))
        return main(["tokens", "show", *options])


def show(capsys: pytest.CaptureFixture[str], token: str, *options: str) -> tuple[int, dict[str, object]]:
    status = explain(token, "-o", "json", *options)
    shown: dict[str, object] = json.loads(capsys.readouterr().out)
    return status, shown


def test_a_created_token_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    token = create(capsys, "--kind", "runner", "--name", "images", "--queues", "images", "--ttl", "1h")
    status, shown = show(capsys, token, "--public-keys", "public-keys.json")
    assert status == 0
    assert {name: shown[name] for name in ("name", "kind", "queues", "customers", "issuer", "audience", "valid")} == {
        "name": "images",
        "kind": "runner",
        "queues": ["images"],
        "customers": None,
        "issuer": "innosystem",
        "audience": "innosystem",
        "valid": "yes",
    }
    assert str(shown["expires_in"]).startswith(("59m", "1h"))


def test_a_token_is_not_repeated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    customer = str(uuid4())
    token = create(capsys, "--kind", "client", "--name", "shop", "--customers", customer)
    monkeypatch.setenv("INNOSYSTEM_AUTH_KEYS", "public-keys.json")
    assert explain(token) == 0
    printed = capsys.readouterr().out
    assert f"customers   {customer}" in printed
    assert "valid       yes" in printed
    assert token not in printed


def test_a_token_that_services_refuse_is_explained_with_the_reason_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = create(capsys, "--kind", "operator", "--name", "ada")
    monkeypatch.setenv("INNOSYSTEM_AUTH_KEYS", "public-keys.json")
    monkeypatch.setenv("INNOSYSTEM_AUTH_AUDIENCE", "other")
    status, shown = show(capsys, token)
    assert (status, "aud" in str(shown["valid"]), shown["name"]) == (1, True, "ada")
    kid = str(shown["key_id"])
    monkeypatch.delenv("INNOSYSTEM_AUTH_AUDIENCE")
    assert main(["tokens", "keys", "create", "--key-file", "second.json"]) == 0
    assert main(["tokens", "keys", "delete", kid]) == 0
    capsys.readouterr()
    status, shown = show(capsys, token)
    assert (status, shown["valid"]) == (1, f"no: its issuer has no key with the ID {kid!r}")


def test_without_keys_a_token_is_explained_and_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = show(capsys, create(capsys, "--kind", "operator", "--name", "ada"))
    assert status == 0
    assert "not checked" in str(shown["valid"])


def test_issuer_and_audience_are_those_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNOSYSTEM_AUTH_ISSUER", "here")
    monkeypatch.setenv("INNOSYSTEM_AUTH_AUDIENCE", "jobs")
    _, shown = show(capsys, create(capsys, "--kind", "operator", "--name", "ada"))
    assert (shown["issuer"], shown["audience"]) == ("here", "jobs")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["create", "--kind", "operator", "--name", "a/b"], 2, "a name has"),
        (["create", "--kind", "operator", "--name", "ada", "--ttl", "8d"], 2, "more than 7d"),
        (["create", "--kind", "operator", "--name", "ada", "--ttl", "0"], 2, "at least a second"),
        (["create", "--kind", "operator", "--name", "ada", "--queues", "x"], 2, "queues are for a runner"),
        (["create", "--kind", "root", "--name", "ada"], 2, "kind"),
        (["create", "--kind", "operator", "--name", "ada", "--key-file", "none.json"], 1, "tokens keys create"),
        (["keys", "create"], 1, "never overwritten"),
        (["keys", "delete", "nope"], 1, "has no key nope"),
        (["keys", "delete", "nope", "--public-file", "none.json"], 1, "no file none.json"),
    ],
)
def test_what_can_not_be_done_says_why(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokens", *arguments]) == status
    assert said in capsys.readouterr().err


def test_a_token_is_no_argument_as_all_users_of_the_machine_see_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "show", "a.b.c"]) == 2
    said = capsys.readouterr().err
    assert "give it on standard input" in said
    assert "a.b.c" not in said


def test_what_is_no_token_and_an_address_of_keys_that_is_not_safe_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("garbage") == 1
    assert "no signed token" in capsys.readouterr().err
    assert explain("a.b.c", "--public-keys", "http://issuer.example/") == 2
    assert "https://" in capsys.readouterr().err


def test_a_token_that_can_not_be_checked_now_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    token = create(capsys, "--kind", "operator", "--name", "ada")
    assert explain(token, "--public-keys", "none.json") == 1
    assert "can't check it: none.json: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("claims", ['{"exp": 1e400}', '{"exp": "x", "sub": ["a"]}', '{"innosystem": 7}', "{}"])
def test_a_strange_token_is_explained_as_far_as_it_goes(claims: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.tokens import new_key, signed

    token = signed(new_key(), claims)
    assert explain(token, "--public-keys", "public-keys.json") == 1
    assert "no: " in capsys.readouterr().out
