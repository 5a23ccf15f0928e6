"""Check the contracts with buf: lint, format, and compatibility with the last release. Needs no network.

buf reads an image that protoc has compiled, because buf itself would download the imports. `buf breaking` compares with
the newest release: the newest tag `v*` that is an ancestor of HEAD. Without such a tag the comparison is skipped.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sdk"))

from hatch_build import compile_contracts  # noqa: E402 - the path has to be set first

BUF = Path(sys.executable).parent / "buf"

# buf adds this to the descriptor of a file that is only imported: field 8042 (`buf_extension`), `is_import = true`.
_IS_IMPORT = b"\xd2\xf6\x03\x02\x08\x01"


def main() -> int:
    """Run all checks and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="innosystem-protos-") as folder:
        image = _image(ROOT / "protos", Path(folder), "contracts.binpb")
        passed = [
            _buf("lint", str(image), "--config", "buf.yaml"),
            _buf("format", "--diff", "--exit-code", "protos"),
        ]
        release = _newest_release()
        if release is None:
            print("buf breaking: skipped, no release is tagged (v*)")
        else:
            _unpack(release, Path(folder))
            before = _image(Path(folder) / "protos", Path(folder), "released.binpb")
            passed.append(_buf("breaking", str(image), "--against", str(before), "--config", "buf.yaml"))
    return 0 if all(passed) else 1


def _image(protos: Path, folder: Path, name: str) -> Path:
    contracts = compile_contracts(protos)
    for file in contracts.file:
        if not file.name.startswith("innosystem/"):
            file.MergeFromString(_IS_IMPORT)
    image = folder / name
    image.write_bytes(contracts.SerializeToString())
    return image


def _buf(*arguments: str) -> bool:
    return subprocess.run([BUF, *arguments], cwd=ROOT, check=False).returncode == 0


def _newest_release() -> str | None:
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return found.stdout.strip() or None


def _unpack(release: str, folder: Path) -> None:
    command = ["git", "archive", "--format=zip", release, "protos"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)


if __name__ == "__main__":
    sys.exit(main())
