"""The version has one source, the platform's pyproject.toml; `make release` writes it to all other places."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scripts.release import DISTRIBUTIONS, PLACES, ReleaseRefused, read_versions, with_heading

ROOT = Path(__file__).parents[3]


def project(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
    return found


VERSION = project(".")["version"]


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_every_place_that_names_the_version_names_the_same(place: tuple[str, str]) -> None:
    assert read_versions(ROOT)[place] == [VERSION]


@pytest.mark.parametrize(("name", "folder"), DISTRIBUTIONS.items())
def test_distributions_need_each_other_in_exactly_this_version(name: str, folder: str) -> None:
    found = project(folder)
    assert (found["name"], found["version"]) == (name, VERSION)
    ours = {need for need in found["dependencies"] if re.match(r"innosystem\b", need)}
    before = list(DISTRIBUTIONS)[: list(DISTRIBUTIONS).index(name)]
    assert ours == {f"{other}=={VERSION}" for other in before}


@pytest.mark.parametrize("folder", [folder for folder in DISTRIBUTIONS.values() if folder != "."])
def test_each_distribution_carries_the_license(folder: str) -> None:
    assert project(folder)["license-files"] == ["LICENSE"]
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_changelog_has_an_entry_for_the_version_and_room_for_what_follows() -> None:
    headings = re.findall(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert headings[0] == "Unreleased"
    assert headings[1].startswith(f"{VERSION} - ")


def test_a_release_puts_what_is_unreleased_under_its_heading() -> None:
    before = "# Changelog\n\n## Unreleased\n\n### Fixed\n\n- A bug.\n\n## 0.1.0 - 2026-01-01\n\n- The start.\n"
    assert with_heading(before, "0.2.0", date(2026, 2, 3)) == (
        "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-02-03\n\n### Fixed\n\n- A bug.\n\n"
        "## 0.1.0 - 2026-01-01\n\n- The start.\n"
    )


@pytest.mark.parametrize("changelog", ["## Unreleased\n\n## 0.1.0 - 2026-01-01\n\n- The start.\n", "# Changelog\n"])
def test_a_release_without_changes_is_refused(changelog: str) -> None:
    with pytest.raises(ReleaseRefused, match="nothing under"):
        with_heading(changelog, "0.2.0", date(2026, 2, 3))
