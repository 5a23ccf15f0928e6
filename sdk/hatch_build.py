"""Generate the stubs from the contracts, for every build and by `python sdk/hatch_build.py`.

The contracts carry validation rules (buf.validate). Stubs with these rules would import
`buf.validate.validate_pb2`, a foreign top-level package that every installation of the SDK would
contain. The rules are therefore stripped before the stubs are generated, and kept in
`contract.binpb`, with which servers validate.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SDK = Path(__file__).resolve().parent
SOURCE = SDK / "src"
# A module of the contract package `innosystem.options`, so that it is found with
# importlib.resources.
CONTRACT = "innosystem/options/contract.binpb"
RULES = "buf/validate/validate.proto"


class StubsBuildHook(BuildHookInterface[Any]):
    """A hook that generates the stubs before hatchling collects the files of a wheel, or installs in place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the stubs; `artifacts` in pyproject.toml then includes them."""
        generate()


def generate() -> None:
    """Bring the generated packages under `src` up to date with the contracts.

    Only files that differ are written, and only files that are no longer generated are deleted: a
    program that imports the stubs meanwhile finds them complete.
    """
    protos = _contracts()
    with tempfile.TemporaryDirectory(prefix="innosystem-stubs-") as folder:
        out = Path(folder, "out")
        full = compile_contracts(protos)
        _write_stubs(without_rules(full), names(protos), Path(folder), out)
        (out / CONTRACT).write_bytes(contract_bytes(full))
        _make_packages(out)
        _synchronise(out, SOURCE)


def contract_bytes(contract: FileDescriptorSet) -> bytes:
    """Return the bytes of `contract.binpb`: the same for the same contract."""
    kept = FileDescriptorSet.FromString(contract.SerializeToString())
    for file in kept.file:
        _keep_comments(file)
    return kept.SerializeToString(deterministic=True)


def _keep_comments(file: FileDescriptorProto) -> None:
    """Keep the platform's own comments, which server reflection shows; drop all other source locations."""
    ours = file.name.startswith("innosystem/")
    commented = [
        place
        for place in file.source_code_info.location
        if ours and (place.leading_comments or place.trailing_comments)
    ]
    file.ClearField("source_code_info")
    if commented:
        file.source_code_info.location.extend(commented)


def _contracts() -> Path:
    """Return the folder of the contracts: beside `sdk` in the repository, inside it in a source distribution."""
    for folder in (SDK / "protos", SDK.parent / "protos"):
        if (folder / "innosystem").is_dir():
            return folder
    raise FileNotFoundError("the contracts are neither in ./protos nor in ../protos")


def names(protos: Path) -> list[str]:
    """Return the names of the platform's own files: the imported ones beside them get no stubs."""
    return sorted(path.relative_to(protos).as_posix() for path in (protos / "innosystem").rglob("*.proto"))


def compile_contracts(protos: Path, *more: str) -> FileDescriptorSet:
    """Compile the contracts with all their imports, including comments.

    Args:
        protos: The root folder of their packages, and of the packages that they import.
        more: The names of files in that folder that the contracts do not import.
    """
    with tempfile.TemporaryDirectory(prefix="innosystem-contracts-") as folder:
        image = Path(folder, "full.binpb")
        _run(
            f"-I{protos}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={image}",
            *names(protos),
            *more,
        )
        return FileDescriptorSet.FromString(image.read_bytes())


def without_rules(full: FileDescriptorSet) -> FileDescriptorSet:
    """Return a copy of the contract without validation rules. Its own options stay: clients read them."""
    # In a separate pool, the options of the descriptors have exactly the extensions of this contract.
    pool = descriptor_pool.DescriptorPool()
    for file in full.file:
        pool.Add(file)
    name = FileDescriptorSet.DESCRIPTOR.full_name
    known = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    contract = known.FromString(full.SerializeToString())
    _strip(contract)
    stripped = FileDescriptorSet.FromString(contract.SerializeToString())
    kept = [file for file in stripped.file if file.name != RULES]
    for file in kept:
        _drop_import(file)
    return FileDescriptorSet(file=kept)


def _strip(message: Message) -> None:
    """Clear every option that the rules' file declares, in the message and all nested messages."""
    field: Any  # the published types lack `file`, and the clearing of extensions by descriptor
    for field, value in message.ListFields():
        if field.is_extension:
            if field.file.name == RULES:
                message.ClearExtension(field)
        elif field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                _strip(item)
            # Options that are present but empty would still be written into every stub.
            if field.name == "options" and not value.ByteSize():
                message.ClearField("options")


def _drop_import(file: FileDescriptorProto) -> None:
    if RULES not in file.dependency:
        return
    if file.public_dependency or file.weak_dependency:
        raise ValueError(f"{file.name}: public and weak imports are numbered by position, and cannot be kept")
    file.dependency.remove(RULES)


def _write_stubs(contract: FileDescriptorSet, files: Sequence[str], folder: Path, out: Path) -> None:
    image = folder / "stripped.binpb"
    image.write_bytes(contract.SerializeToString())
    out.mkdir()
    _run(
        f"--descriptor_set_in={image}",
        f"--plugin=protoc-gen-mypy={_program('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_program('protoc-gen-mypy_grpc')}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *files,
    )
    # protoc writes these two for every file; without a service they are useless.
    with_service = {file.name for file in contract.file if file.service}
    for name in files:
        if name not in with_service:
            for suffix in ("_pb2_grpc.py", "_pb2_grpc.pyi"):
                (out / name.replace(".proto", suffix)).unlink(missing_ok=True)


def _program(name: str) -> str:
    """Find a plugin in the current environment, which need not be activated."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise FileNotFoundError(f"{name} of mypy-protobuf is not installed beside Python or on PATH")
    return found


def _run(*arguments: str) -> None:
    """Run the compiler of grpc_tools, which reports errors to standard error."""
    if protoc.main(["protoc", *arguments]) != 0:
        raise RuntimeError("protoc refused the contracts; its messages are above")


def _make_packages(out: Path) -> None:
    """Turn the folders `innosystem/<name>` into typed packages; `innosystem` itself is a shared namespace."""
    for package in _generated_packages(out):
        (package / "py.typed").touch()
        for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
            (folder / "__init__.py").write_text(
                '"""Generated from the contracts by the build of the SDK."""\n', encoding="utf-8"
            )


def _generated_packages(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in (root / "innosystem").iterdir() if path.is_dir())


def _synchronise(source: Path, target: Path) -> None:
    """Update the generated packages under `target` to equal those under `source`."""
    for package in _generated_packages(source):
        installed = target / package.relative_to(source)
        for old in [path for path in installed.rglob("*") if path.is_file()]:
            # A concurrent build may be about to move its partial files.
            kept = "__pycache__" in old.parts or old.suffix == ".partial"
            if not kept and not (source / old.relative_to(target)).exists():
                old.unlink(missing_ok=True)
    for new in sorted(path for path in source.rglob("*") if path.is_file()):
        file = target / new.relative_to(source)
        content = new.read_bytes()
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, content)


def _replace(file: Path, content: bytes) -> None:
    """Write a file atomically."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(file)


if __name__ == "__main__":
    generate()
