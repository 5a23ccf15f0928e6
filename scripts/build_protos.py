"""Build `innosystem-protos-VERSION.tar.gz`, the contract for clients in any language: `make protos`.

It holds, under one folder: `protos/` with the files that they import; `protos-without-rules/`, the same contract
without validation rules, whose generated code needs no package of `buf`; and both compiled (`contract.binpb`,
`contract-without-rules.binpb`). The same sources give the same bytes.
"""

import argparse
import gzip
import io
import sys
import tarfile
import tomllib
from pathlib import Path

from hatchling.builders.utils import get_reproducible_timestamp

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "sdk")]

from hatch_build import compile_contracts, contract_bytes, without_rules  # noqa: E402 - the path has to be set first

from scripts.proto_text import proto_text  # noqa: E402

_GENERATED = """\
// The contract without validation rules, written from its compiled form: services check the rules, and the comments
// say what they are.

"""


def main() -> int:
    """Build the archive, print its path, and return the exit status."""
    parser = argparse.ArgumentParser(description="Build the archive of the contracts.")
    parser.add_argument("--outdir", type=Path, default=ROOT / "dist", help="where to leave it (default: dist)")
    print(build(parser.parse_args().outdir))
    return 0


def build(out: Path) -> Path:
    """Build the archive in a folder and return its path."""
    version = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text("utf-8"))["project"]["version"]
    archive = out / f"innosystem-protos-{version}.tar.gz"
    out.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as files:
        for name, data in sorted(_contents().items()):
            member = tarfile.TarInfo(f"innosystem-protos-{version}/{name}")
            member.size, member.mtime = len(data), get_reproducible_timestamp()
            files.addfile(member, io.BytesIO(data))
    archive.write_bytes(gzip.compress(content.getvalue(), mtime=0))
    return archive


def _contents() -> dict[str, bytes]:
    protos = ROOT / "protos"
    full = compile_contracts(protos, "google/rpc/error_details.proto")
    reduced = without_rules(full)
    found = {name: (ROOT / name).read_bytes() for name in ("LICENSE", "buf.yaml")}
    found["README.md"] = (protos / "README.md").read_bytes()
    found["contract.binpb"], found["contract-without-rules.binpb"] = contract_bytes(full), contract_bytes(reduced)
    for file in sorted(protos.rglob("*.proto")):
        name, text = file.relative_to(protos).as_posix(), file.read_bytes()
        found[f"protos/{name}"] = text
        if name.startswith("google/"):
            found[f"protos-without-rules/{name}"] = text
        elif name.startswith("innosystem/"):
            found[f"protos-without-rules/{name}"] = (_GENERATED + proto_text(reduced, name)).encode()
    return found


if __name__ == "__main__":
    sys.exit(main())
