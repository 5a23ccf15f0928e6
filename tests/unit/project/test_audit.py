"""`make audit`: what it finds in locks, licences and files, and how it ends."""

import json
import re
import subprocess
from importlib.metadata import Distribution
from typing import Any

import pytest

from scripts import audit
from tests.support.sources import modules

HASH = "--hash=sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("lock", "problem"),
    [
        (f"a==1.0 \\\n    {HASH}\nb-c[d]==2 ; python_version < '4' \\\n    {HASH}\n", None),
        ("a==1.0\n", "a has no hash"),
        (f"a>=1.0 {HASH}\n", "a>=1.0"),
        (f"a @ https://example.com/a.whl {HASH}\n", "a @ https://example.com/a.whl"),
        ("--no-binary :all:\n", "--no-binary :all:"),
        ("-e .\n", "-e ."),
    ],
)
def test_each_requirement_of_a_lock_is_a_version_with_hashes(lock: str, problem: str | None) -> None:
    found = list(audit.lock_problems(lock))
    assert [one.startswith(problem) for one in found] == [True] if problem else found == []


@pytest.mark.parametrize(
    ("metadata", "licences"),
    [
        ("License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)", {"MPL-2.0", "Apache-2.0", "MIT"}),
        ("Classifier: License :: OSI Approved :: MIT License", {"MIT"}),
        ("License: AGPL-3.0", {"AGPL-3.0"}),
        ("Summary: says nothing", set()),
    ],
)
def test_licences_are_read_in_all_the_ways_in_which_packages_name_them(metadata: str, licences: set[str]) -> None:
    class Installed(Distribution):
        def read_text(self, filename: str) -> str | None:
            return f"Metadata-Version: 2.4\nName: a\nVersion: 1\n{metadata}\n" if filename == "METADATA" else None

        def locate_file(self, path: Any) -> Any:
            raise NotImplementedError

    assert audit.licences(Installed()) == licences


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN " + "PRIVATE KEY-----\n" + "A" * 64,
        "inno_" + "aB3_" * 10 + "xyz",
        "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 43,
        "ghp_" + "a1" * 18,
        "AKIA" + "A1" * 8,
        "sk_live_" + "a1" * 12,
    ],
)
def test_a_secret_in_a_file_is_named_by_its_place_and_not_shown(secret: str) -> None:
    [found] = audit.secrets("docs/a.md", f"first\nsecond {secret}\n")
    assert found.startswith("docs/a.md:2: ")
    assert secret not in found


def test_vulnerabilities_that_nobody_could_be_asked_about_are_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bugs: list[dict[str, str]] = []
    responses = [
        {"name": "a", "skip_reason": "not found"},
        {"name": "b", "version": "1", "vulns": bugs},
    ]

    def ran(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, json.dumps({"dependencies": responses}), "")

    monkeypatch.setattr(audit, "tracked", dict)
    monkeypatch.setattr(audit, "licence_problems", lambda _: ())
    monkeypatch.setattr(subprocess, "run", ran)
    assert audit.main([]) == audit.NOT_AUDITED
    assert "NOT AUDITED of 1 packages" in capsys.readouterr().out
    assert audit.main(["--offline"]) == 0

    bugs.append({"id": "PYSEC-1"})
    assert audit.main([]) == audit.FOUND
    assert "b 1: PYSEC-1" in capsys.readouterr().out


def test_this_repository_has_nothing_to_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--offline"]) == 0, capsys.readouterr().out


def test_each_exception_from_the_rules_of_security_has_its_reason() -> None:
    exceptions = [
        (name, line.strip())
        for name, path in modules().items()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"noqa: (\w+, *)*S\d", line)
    ]
    assert len(exceptions) > 20
    assert [one for one in exceptions if not re.search(r"noqa: [\w, ]+ - \w", one[1])] == []
