"""What runs outside of this checkout, CI and the hooks of git, runs what the Makefile runs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.release import DISTRIBUTIONS

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW)["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
HOOKS = {
    hook["id"]: hook
    for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
}


def recipe(target: str) -> list[str]:
    found = re.search(rf"(?m)^{target}:.*\n((?:\t.*\n)+)", MAKEFILE)
    assert found, target
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


@pytest.mark.parametrize(("name", "folder"), DISTRIBUTIONS.items())
def test_the_pythons_of_a_distribution_are_those_that_ci_requires_to_pass(name: str, folder: str) -> None:
    classifiers = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    prefix = "Programming Language :: Python :: 3."
    claimed = [found.removeprefix(prefix) for found in classifiers if found.startswith(prefix)]
    matrix = JOBS["test"]["strategy"]["matrix"]
    assert [f"3.{minor}" for minor in claimed] == matrix["python"]
    assert matrix["experimental"] == [False]


def test_ci_runs_targets_of_the_makefile_and_nothing_else() -> None:
    commands = [step["run"] for step in STEPS if "run" in step]
    assert {"make check", "make test", "make test-all"} <= set(commands)
    for command in commands:
        assert re.search(rf"(?m)^{command.removeprefix('make ')}:", MAKEFILE), command


def test_actions_are_pinned_by_commit_and_may_only_read() -> None:
    for used in (step["uses"] for step in STEPS if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", used)
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in JOBS.values())


def test_hooks_run_what_make_check_runs_and_download_nothing() -> None:
    checks = [command.removesuffix(" .").replace(" --check", "") for command in recipe("check")]
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in HOOKS.values()]
    assert set(checks) <= set(entries)
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}
