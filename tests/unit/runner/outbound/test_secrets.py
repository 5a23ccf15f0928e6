"""Secrets are read from their files when they are used, and hidden where others would see them."""

from pathlib import Path

import pytest

from innosystem.runner import JobError
from innosystem.runner.outbound.secrets import Secrets, hidden


def refusal(secrets: Secrets, name: str) -> str:
    with pytest.raises(JobError) as failure:
        secrets.get(name)
    assert (failure.value.type, failure.value.retryable) == ("SECRET_UNUSABLE", True)
    return failure.value.message


def test_a_secret_is_its_file_without_white_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "API_KEY").write_text("sk-0123456789\n")

    assert Secrets(str(tmp_path)).get("API_KEY") == "sk-0123456789"


def test_a_secret_that_was_rotated_is_used_from_then_on(tmp_path: Path) -> None:
    """As Kubernetes does it: the files are links into a folder that is replaced."""
    secrets = Secrets(str(tmp_path))
    for version in ("first-version", "second-version"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "KEY").write_text(version)
        (tmp_path / "KEY").unlink(missing_ok=True)
        (tmp_path / "KEY").symlink_to(tmp_path / version / "KEY")

        assert secrets.get("KEY") == version


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden", "", "a/b", "a\nb"])
def test_a_name_leads_to_no_file_outside_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not a secret of the folder")
    (tmp_path / "folder").mkdir()

    assert "can't be the name of a secret" in refusal(Secrets(str(tmp_path / "folder")), name)


def test_a_secret_that_cannot_be_used_is_told_without_its_content(tmp_path: Path) -> None:
    secrets = Secrets(str(tmp_path))
    (tmp_path / "SHORT").write_text("1234567")
    (tmp_path / "LARGE").write_text("x" * 65_537)
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe12345678")

    assert refusal(secrets, "MISSING") == "The secret 'MISSING' can't be read: No such file or directory"
    assert refusal(secrets, "SHORT") == "The secret 'SHORT' must have 8 characters to 65536 bytes"
    assert refusal(secrets, "LARGE") == "The secret 'LARGE' must have 8 characters to 65536 bytes"
    assert refusal(secrets, "BINARY") == "The secret 'BINARY' is not text"
    assert refusal(Secrets(""), "ANY") == "The secret 'ANY' is needed, and RUNNER_SECRETS_DIR is not set"


def test_secrets_are_hidden_at_any_depth_and_other_values_stay() -> None:
    value = {"a": ["Bearer s3cret-one", 1, None, True], "s3cret-two": {"b": "s3cret-ones3cret-two"}}

    assert hidden(value, ["s3cret-one", "s3cret-two"]) == {"a": ["Bearer ***", 1, None, True], "***": {"b": "******"}}
    assert hidden(value, []) == value
