"""The settings of outbound calls are checked when the runner starts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from innosystem.runner.settings import RunnerSettings


def test_hosts_and_networks_are_separated_by_commas_or_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_HTTP_ALLOWED_HOSTS", "api.example.com, *.example.org http://localhost:8080")
    monkeypatch.setenv("RUNNER_HTTP_PRIVATE_NETWORKS", "127.0.0.0/8,::1")
    settings = RunnerSettings()

    assert settings.runner_http_allowed_hosts == ("api.example.com", "*.example.org", "http://localhost:8080")
    assert settings.runner_http_private_networks == ("127.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("setting", "value", "fault"),
    [
        ("RUNNER_HTTP_ALLOWED_HOSTS", "a.example/path", "RUNNER_HTTP_ALLOWED_HOSTS: 'a.example/path' is no host"),
        ("RUNNER_HTTP_PRIVATE_NETWORKS", "10.0.0.1/8", "RUNNER_HTTP_PRIVATE_NETWORKS: 10.0.0.1/8 has host bits set"),
        ("RUNNER_HTTP_PRIVATE_NETWORKS", "on", "RUNNER_HTTP_PRIVATE_NETWORKS: 'on' does not appear to be"),
        ("RUNNER_SECRETS_DIR", "missing", "RUNNER_SECRETS_DIR: missing is no folder"),
        ("RUNNER_HTTP_CA_FILE", "missing.pem", "RUNNER_HTTP_CA_FILE: missing.pem can't be used"),
        ("RUNNER_HTTP_CA_FILE", "empty.pem", "RUNNER_HTTP_CA_FILE: empty.pem can't be used"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    setting: str, value: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv(setting, value)

    with pytest.raises(ValidationError, match=fault.replace("*", r"\*")):
        RunnerSettings()
