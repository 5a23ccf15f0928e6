"""A release in a git repository of its own, with three small distributions in place of the real ones."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import release as script
from tests.support.documents import ROOT

pytestmark = pytest.mark.timeout(300)

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
readme = "README.md"
requires-python = ">=3.11"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = [{needs}]

[tool.hatch.build.targets.wheel]
packages = ["code"]
"""

CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 - 2026-01-01\n\n- The start.\n"


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that is ready for a release of 0.2.0."""
    for key in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):  # git sets them for hooks
        monkeypatch.delenv(key, raising=False)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    root = tmp_path / "project"
    needs = ""
    for name, folder in script.DISTRIBUTIONS.items():
        write(root / folder / "pyproject.toml", PYPROJECT.format(name=name, needs=needs.removesuffix(", ")))
        needs += f'"{name}==0.1.0", '
        write(root / folder / "README.md", f"# {name}\n")
        write(root / folder / "LICENSE", "Apache-2.0\n")
        write(root / folder / "code/__init__.py", "")
    write(root / "deploy/compose.yaml", "  image: innosystem:0.1.0\n")
    for page in ("deploy/README.md", "docs/handlers.md"):
        write(root / page, "FROM innosystem:0.1.0\n")
    write(root / "CHANGELOG.md", CHANGELOG)
    write(root / ".gitignore", "dist/\n")
    scripts = [f"scripts/{name}.py" for name in ("release", "build_protos", "proto_text")]
    for name in (*scripts, "sdk/hatch_build.py", "buf.yaml"):
        write(root / name, (ROOT / name).read_text("utf-8"))
    shutil.copytree(ROOT / "protos", root / "protos")
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(root))
    commit(root, "0.1.0")
    return root


def release(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/release.py", *arguments]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)


def state(root: Path) -> tuple[str | bool, ...]:
    """Return everything that a release may change."""
    looked_at = [("rev-parse", "HEAD"), ("tag",), ("branch",), ("worktree", "list"), ("diff", "HEAD"), ("status",)]
    return (*(git(root, *arguments) for arguments in looked_at), (root / "dist").exists())


def refusal(root: Path, *arguments: str) -> str:
    """Return why a release is refused, which has to leave everything as it was."""
    before = state(root)
    done = release(root, *arguments)
    assert done.returncode == 1, done.stdout
    assert state(root) == before
    return done.stderr


def test_a_release_is_built_committed_and_tagged_in_the_new_version(repository: Path) -> None:
    done = release(repository, "0.2.0")
    assert done.returncode == 0, done.stderr
    assert git(repository, "log", "--format=%s") == "Release 0.2.0\n0.1.0"
    assert git(repository, "describe") == "v0.2.0"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "branch", "--show-current") == "main"
    assert git(repository, "worktree", "list").count("\n") == 0
    assert all(found == ["0.2.0"] for found in script.read_versions(repository).values())
    changelog = (repository / "CHANGELOG.md").read_text("utf-8")
    assert "## Unreleased\n\n## 0.2.0 - 2" in changelog
    stems = [f"{name.replace('-', '_')}-0.2.0" for name in script.DISTRIBUTIONS]
    built = {file.name for file in (repository / "dist/0.2.0").iterdir()}
    distributions = {stem + suffix for stem in stems for suffix in (".tar.gz", "-py3-none-any.whl")}
    assert built == distributions | {"innosystem-protos-0.2.0.tar.gz"}


def test_a_release_contains_only_what_is_committed(repository: Path) -> None:
    write(repository / ".gitignore", "dist/\nnotes.txt\n")
    commit(repository, "Notes are ignored")
    write(repository / "sdk/code/notes.txt", "private\n")
    done = release(repository, "0.2.0")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(repository / "dist/0.2.0/innosystem-0.2.0-py3-none-any.whl") as wheel:
        assert "code/__init__.py" in wheel.namelist()
        assert "code/notes.txt" not in wheel.namelist()


def test_a_dry_run_builds_and_checks_and_keeps_nothing(repository: Path) -> None:
    before = state(repository)
    done = release(repository, "0.2.0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert state(repository) == before
    assert "0.2.0 can be released" in done.stdout
    assert "CHANGELOG.md" in done.stdout


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("0.1.0", "0.1.0 is not later than 0.1.0"),
        ("0.0.9", "0.0.9 is not later than 0.1.0"),
        ("v0.2.0", "is not a version of the form X.Y.Z"),
        ("0.2", "is not a version of the form X.Y.Z"),
        ("0.02.0", "is not a version of the form X.Y.Z"),
    ],
)
def test_a_version_that_cannot_follow_is_refused(repository: Path, version: str, why: str) -> None:
    assert why in refusal(repository, version)


def test_0_10_0_is_later_than_0_9_0(repository: Path) -> None:
    assert release(repository, "0.9.0").returncode == 0
    write(repository / "CHANGELOG.md", CHANGELOG)
    commit(repository, "More")
    assert release(repository, "0.10.0").returncode == 0


@pytest.mark.parametrize("file", ["CHANGELOG.md", "new.txt"])
def test_a_tree_that_is_not_clean_is_refused_and_left_alone(repository: Path, file: str) -> None:
    write(repository / file, "in progress\n")
    assert "not clean" in refusal(repository, "0.2.0")
    assert (repository / file).read_text("utf-8") == "in progress\n"


@pytest.mark.parametrize(
    ("file", "text", "replacement", "why"),
    [
        ("runner/pyproject.toml", "innosystem==0.1.0", "innosystem==0.0.9", "not the same everywhere: runner/pyproj"),
        ("deploy/compose.yaml", "0.1.0", "0.0.9", "not the same everywhere: deploy/compose.yaml"),
        ("CHANGELOG.md", "- A thing.", "", 'nothing under "## Unreleased"'),
        ("sdk/pyproject.toml", "hatchling.build", "unknown.build", "innosystem does not build"),
        ("runner/README.md", "# innosystem-runner\n", "", "has no description in Markdown"),
        ("runner/pyproject.toml", 'license-files = ["LICENSE"]', "license-files = []", "does not contain LICENSE"),
        ("sdk/pyproject.toml", 'license = "Apache-2.0"\n', "", "needs License-Expression"),
        ("sdk/pyproject.toml", 'name = "innosystem"', 'name = "innosystems"', "innosystem-0.2.0-py3-none-any.whl was"),
        (
            "pyproject.toml",
            '"innosystem==0.1.0"',
            '"innosystem==0.1.0", "innosystem>=0.0.1"',
            "expected innosystem==0.2.0",
        ),
    ],
)
def test_what_is_not_fit_for_a_release_is_named_and_nothing_changes(
    repository: Path, file: str, text: str, replacement: str, why: str
) -> None:
    before = (repository / file).read_text("utf-8")
    assert before.count(text) == 1
    write(repository / file, before.replace(text, replacement))
    commit(repository, "Not fit")
    assert why in refusal(repository, "0.2.0")


@pytest.mark.slow
def test_this_project_can_be_released(repository: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        pytest.skip("this is no git checkout")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    done = release(clone, "99.0.0", "--dry-run")
    assert done.returncode == 0, done.stderr
