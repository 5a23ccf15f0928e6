"""Check the contracts with buf: lint, format, and compatibility with the last release. Needs no network.

`buf breaking` compares with the newest release: the newest tag `v*` that is an ancestor of HEAD. Without such a tag the
comparison is skipped. `python scripts/check_protos.py COMMIT` compares with that commit.
"""

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).parent / "buf"

# What buf counts as a change of generated code, and 0.1.0 did not say.
_LANGUAGE_OPTIONS = ("csharp_namespace", "go_package", "java_multiple_files", "java_package")


def main() -> int:
    """Run all checks and return the exit status."""
    passed = [_buf("lint"), _buf("format", "--diff", "--exit-code", "--path", "protos/innosystem")]
    release = sys.argv[1] if len(sys.argv) > 1 else _newest_release()
    if release is None:
        print("buf breaking: skipped, no release is tagged (v*)")
    else:
        with tempfile.TemporaryDirectory(prefix="innosystem-protos-") as folder:
            passed.append(_buf("breaking", "--against", str(_released(release, Path(folder)))))
    return 0 if all(passed) else 1


def _buf(*arguments: str) -> bool:
    return subprocess.run([BUF, *arguments], cwd=ROOT, check=False).returncode == 0


def _newest_release() -> str | None:
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return found.stdout.strip() or None


def _released(release: str, folder: Path) -> Path:
    """Compile the contracts of a release to an image in the folder, and return the image's path."""
    command = ["git", "archive", "--format=zip", release, "protos"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
    for imported in ("buf", "google"):  # 0.1.0 had them from other packages
        if not (folder / "protos" / imported).exists():
            shutil.copytree(ROOT / "protos" / imported, folder / "protos" / imported)
    present, before = _image(ROOT, folder / "present.binpb"), _image(folder / "protos", folder / "released.binpb")
    _allow_first_options(FileDescriptorSet.FromString(present.read_bytes()), before)
    return before


def _image(source: Path, image: Path) -> Path:
    subprocess.run([BUF, "build", source, "--output", image], cwd=ROOT, check=True)
    return image


def _allow_first_options(present: FileDescriptorSet, image: Path) -> None:
    """Give a released file that has no options for languages those that it has now: a first value breaks nobody.

    Without them, generated code was in a default package, or (Go) was not generated at all. A value that was released
    must stay.
    """
    options = {file.name: file.options for file in present.file}
    released = FileDescriptorSet.FromString(image.read_bytes())
    for file in released.file:
        if file.name in options and not any(
            option.name in _LANGUAGE_OPTIONS for option, _ in file.options.ListFields()
        ):
            for option in _LANGUAGE_OPTIONS:
                setattr(file.options, option, getattr(options[file.name], option))
    image.write_bytes(released.SerializeToString())


if __name__ == "__main__":
    sys.exit(main())
