"""Make a release: `make release VERSION=0.2.0`, or with `DRY_RUN=1` all but commit and tag. Never pushes.

The release is made in a temporary git worktree, from what is committed and nothing else: the version is written to
every place in `PLACES`, "Unreleased" in CHANGELOG.md gets a heading with version and date below it, the three
distributions and the archive of the contracts are built, and the metadata is checked. Only then does the branch move to
the new commit and the tag `vX.Y.Z` appear, so a release that fails changes nothing. What was built is left in
`dist/X.Y.Z`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

#: Our distributions and their folders, in the order in which they need each other.
DISTRIBUTIONS = {"innosystem": "sdk", "innosystem-runner": "runner", "innosystem-platform": "."}

#: Every place that names the version, as file and pattern. The first is the source, the others follow it.
PLACES = (
    ("pyproject.toml", r'(?m)^version = "([^"]+)"$'),
    ("pyproject.toml", r'"innosystem==([^"]+)"'),
    ("pyproject.toml", r'"innosystem-runner==([^"]+)"'),
    ("sdk/pyproject.toml", r'(?m)^version = "([^"]+)"$'),
    ("runner/pyproject.toml", r'(?m)^version = "([^"]+)"$'),
    ("runner/pyproject.toml", r'"innosystem==([^"]+)"'),
    ("deploy/compose.yaml", r"(?m)^ *image: innosystem:(\S+)$"),
    ("deploy/README.md", r"(?m)^FROM innosystem:(\S+)$"),
    ("docs/handlers.md", r"(?m)^FROM innosystem:(\S+)$"),
)

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_UNRELEASED = re.compile(r"(?ms)^## Unreleased\n(.*?)(?=^## |\Z)")


class ReleaseRefused(Exception):
    """The release cannot be made; nothing has changed."""


def main() -> int:
    """Make the release that the command line names and return the exit status."""
    parser = argparse.ArgumentParser(description="Make a release: build, check, write the changelog, commit and tag.")
    parser.add_argument("version", help="the version to release, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="build and check, but keep no commit and no tag")
    arguments = parser.parse_args()
    try:
        release(ROOT, arguments.version, datetime.now(UTC).date(), dry_run=arguments.dry_run)
    except ReleaseRefused as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, version: str, today: date, *, dry_run: bool) -> None:
    """Make a release of the commit that is checked out.

    Args:
        root: The working tree to release.
        version: The version to release, `X.Y.Z`.
        today: The date for the changelog's heading.
        dry_run: Build and check only.

    Raises:
        ReleaseRefused: If the tree, the version, the changelog or a distribution is not fit for a release.
    """
    _check_request(root, version)
    with tempfile.TemporaryDirectory(prefix="innosystem-release-") as folder:
        with _worktree(root, Path(folder, "tree")) as tree:
            _write_version(tree, version)
            changelog = tree / "CHANGELOG.md"
            changelog.write_text(with_heading(changelog.read_text("utf-8"), version, today), "utf-8")
            built = _build(tree, Path(folder, "dist"))
            for distribution in DISTRIBUTIONS:
                check_distribution(built, distribution, version)
            print(_git(tree, "diff", "--stat"), end="")
            if dry_run:
                print(f"{version} can be released. Nothing was committed or tagged: --dry-run.")
                return
            # Hooks would look for .venv in the temporary tree; `make release` has run `make check` before.
            _git(tree, "commit", "--quiet", "--no-verify", "--all", "--message", f"Release {version}")
            commit = _git(tree, "rev-parse", "HEAD").strip()
        _git(root, "merge", "--quiet", "--ff-only", commit)
        _git(root, "tag", "--annotate", "--message", f"Release {version}", f"v{version}", commit)
        shutil.copytree(built, root / "dist" / version, dirs_exist_ok=True)
    print(
        f"{version} is committed and tagged v{version}. Publish it: git push --follow-tags, and upload dist/{version}."
    )


def read_versions(root: Path) -> dict[tuple[str, str], list[str]]:
    """Return the versions that each of `PLACES` names; exactly one each, if all is well."""
    return {(file, pattern): re.findall(pattern, (root / file).read_text("utf-8")) for file, pattern in PLACES}


def with_heading(changelog: str, version: str, today: date) -> str:
    """Return the changelog with everything unreleased under a heading for the version.

    Raises:
        ReleaseRefused: If nothing is unreleased.
    """
    unreleased = _UNRELEASED.search(changelog)
    if unreleased is None or "- " not in unreleased[1]:
        raise ReleaseRefused('CHANGELOG.md has nothing under "## Unreleased"')
    heading = f"## Unreleased\n\n## {version} - {today.isoformat()}\n"
    return changelog.replace("## Unreleased\n", heading, 1)


def check_distribution(built: Path, name: str, version: str) -> None:
    """Check the metadata of a distribution's wheel and source distribution.

    Args:
        built: The folder that holds both.
        name: The distribution's name.
        version: The version that it and its needs among our own distributions must have.

    Raises:
        ReleaseRefused: If one of the two is missing, or its metadata is invalid or not what a release needs.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    wheel, source = built / f"{stem}-py3-none-any.whl", built / f"{stem}.tar.gz"
    for file in (wheel, source):
        if not file.exists():
            raise ReleaseRefused(f"{file.name} was not built")
    with zipfile.ZipFile(wheel) as archive:
        _check_metadata(wheel.name, archive.read(f"{stem}.dist-info/METADATA"), name, version)
        if f"{stem}.dist-info/licenses/LICENSE" not in archive.namelist():
            raise ReleaseRefused(f"{wheel.name} does not contain LICENSE")
    with tarfile.open(source) as archive:
        member = archive.extractfile(f"{stem}/PKG-INFO")
        if member is None:
            raise ReleaseRefused(f"{source.name} does not contain PKG-INFO")
        _check_metadata(source.name, member.read(), name, version)


def _check_metadata(file: str, content: bytes, name: str, version: str) -> None:
    try:
        metadata = Metadata.from_email(content, validate=True)
    except ExceptionGroup as errors:  # of packaging's InvalidMetadata
        raise ReleaseRefused(f"{file}: {'; '.join(str(error) for error in errors.exceptions)}") from None
    if (metadata.name, str(metadata.version)) != (name, version):
        raise ReleaseRefused(f"{file} is {metadata.name} {metadata.version}, expected {name} {version}")
    if metadata.description_content_type != "text/markdown" or not metadata.description:
        raise ReleaseRefused(f"{file} has no description in Markdown")
    if metadata.license_expression is None or metadata.requires_python is None:
        raise ReleaseRefused(f"{file} needs License-Expression and Requires-Python")
    for need in metadata.requires_dist or []:
        if need.name in DISTRIBUTIONS and need != Requirement(f"{need.name}=={version}"):
            raise ReleaseRefused(f"{file} needs {need}, expected {need.name}=={version}")


def _check_request(root: Path, version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise ReleaseRefused(f"{version!r} is not a version of the form X.Y.Z")
    named = read_versions(root)
    wrong = [f"{file}: {found}" for (file, _), found in named.items() if found != named[PLACES[0]] or len(found) != 1]
    if wrong:
        raise ReleaseRefused(f"the version is not the same everywhere: {', '.join(wrong)}")
    (current,) = named[PLACES[0]]
    if _numbers(version) <= _numbers(current):
        raise ReleaseRefused(f"{version} is not later than {current}")
    if changed := _git(root, "status", "--porcelain").strip():
        raise ReleaseRefused(f"the working tree is not clean:\n{changed}")
    if _git(root, "tag", "--list", f"v{version}"):
        raise ReleaseRefused(f"the tag v{version} exists")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _write_version(tree: Path, version: str) -> None:
    for name, pattern in PLACES:
        file = tree / name
        text = file.read_text("utf-8")
        found = re.search(pattern, text)
        if found is None:
            raise ReleaseRefused(f"{name} names no version")
        file.write_text(text[: found.start(1)] + version + text[found.end(1) :], "utf-8")


def _build(tree: Path, out: Path) -> Path:
    """Build all source distributions, the wheels from them, and the archive of the contracts."""
    products = {name: ["-m", "build", "--no-isolation", str(tree / folder)] for name, folder in DISTRIBUTIONS.items()}
    products["innosystem-protos"] = [str(tree / "scripts/build_protos.py")]
    for name, arguments in products.items():
        command = [sys.executable, *arguments, "--outdir", str(out)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ReleaseRefused(f"{name} does not build:\n{done.stdout}{done.stderr}")
    return out


@contextmanager
def _worktree(root: Path, folder: Path) -> Iterator[Path]:
    """Check out HEAD in a folder of its own for the time of a `with` block."""
    _git(root, "worktree", "add", "--quiet", "--detach", str(folder))
    try:
        yield folder
    finally:
        _git(root, "worktree", "remove", "--force", str(folder))


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseRefused(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
