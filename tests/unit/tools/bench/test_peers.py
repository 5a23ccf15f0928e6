"""The peers' environment and settings, without a network."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from tools.bench.peers import environment, peer_runs
from tools.errors import CommandError

FOLDER = Path(environment.__file__).parent
NAMES = {"dramatiq", "taskiq", "celery", "procrastinate"}


def test_every_requirement_is_pinned_with_hashes_and_no_host_is_named() -> None:
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9-]+==\S+ ", package) and "--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert "--index" not in text


def test_all_that_is_wanted_is_pinned() -> None:
    wanted = (FOLDER / "requirements.in").read_text(encoding="utf-8").split()
    assert {name.partition("[")[0] for name in wanted} <= environment.versions().keys()


def test_the_settings_say_version_worker_and_callers_of_each_peer() -> None:
    settings = peer_runs.settings()
    assert settings.keys() == NAMES
    for name, one in settings.items():
        assert one["worker"].startswith(name)
        assert one["version"][0].isdigit()
        assert one["callers"] > 0


async def test_an_environment_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()
    digest = sha256((FOLDER / "requirements.txt").read_bytes()).hexdigest()
    (tmp_path / "requirements.sha256").write_text(digest)
    assert await environment.python_of(tmp_path) == tmp_path / "bin/python"


async def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    with pytest.raises(CommandError, match="is not a virtual environment"):
        await environment.python_of(tmp_path)
    assert kept.exists()
