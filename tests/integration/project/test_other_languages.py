"""The contract for clients in any language: the repository, the archive, docs/clients-in-other-languages.md."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hatch_build import compile_contracts, contract_bytes, names, without_rules

from scripts.build_protos import build
from services import SERVICES
from tests.e2e.stack import Stack
from tests.support.documents import ROOT, Document
from tests.support.sessions import steps
from tools.local.credentials import create_credentials

PAGE = Document.read("docs/clients-in-other-languages.md")
BIN = Path(sys.executable).parent
CUSTOMER = "01990000-0000-7000-8000-000000000201"

pytestmark = pytest.mark.timeout(300)


def block(heading: str, language: str) -> str:
    """The first block in a language below a heading of the page."""
    section = Document(PAGE.name, PAGE.text.split(f"\n## {heading}\n")[1].split("\n## ")[0])
    return next(one.body for one in section.blocks if one.language == language)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    """The archive of a release, unpacked where nothing else of the project is."""
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    (folder,) = tmp_path.iterdir()
    return folder


@pytest.fixture
def tools() -> str:
    """A PATH with what `make setup` installs first: `buf`, and the protoc of grpcio-tools as a module of `python`."""
    return os.pathsep.join([str(BIN), os.environ["PATH"]])


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    urls = {service: fresh_database(service) for service in SERVICES}
    folder = tmp_path_factory.mktemp("languages")
    credentials = create_credentials(folder / "credentials")
    stack = Stack(folder, urls, redis_url, key_prefix=f"{uuid4()}:", issued=credentials)
    stack.start(*SERVICES)
    addresses = {f"{service.upper()}_ADDRESS": stack.addresses[service] for service in SERVICES}
    run(BIN / "innosystem", "seed", cwd=stack.folder, environment={**addresses, **credentials.operator})
    stack.start_runner("innosystem.runner.examples.source_stats")
    yield stack
    stack.close()


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=os.environ | (environment or {}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shell(text: str, cwd: Path, path: str) -> str:
    return run("bash", "-euc", text, cwd=cwd, environment={"PATH": path})


def described(contract: FileDescriptorSet) -> dict[str, bytes]:
    for file in contract.file:
        file.ClearField("source_code_info")
    return {file.name: file.SerializeToString(deterministic=True) for file in contract.file}


def test_the_archive_holds_the_contract_its_imports_and_both_compiled(unpacked: Path) -> None:
    files = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    own, google = names(ROOT / "protos"), {"google/rpc/" + name for name in ("code", "error_details", "status")}
    vendored = {f"{name}.proto" for name in google}
    assert files == {
        *("LICENSE", "README.md", "buf.yaml", "contract.binpb", "contract-without-rules.binpb"),
        *(f"protos/{name}" for name in {*own, *vendored, "buf/validate/validate.proto"}),
        *(f"protos-without-rules/{name}" for name in {*own, *vendored}),
    }
    for name in ("contract.binpb", "contract-without-rules.binpb"):
        contract = {file.name: file for file in FileDescriptorSet.FromString((unpacked / name).read_bytes()).file}
        assert contract.keys() >= {*own, *vendored}
        assert all(set(file.dependency) <= contract.keys() for file in contract.values())


def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == archive.read_bytes()


def test_the_text_without_rules_is_the_contract_of_the_stubs(unpacked: Path) -> None:
    details = "google/rpc/error_details.proto"
    written = compile_contracts(unpacked / "protos-without-rules", details)
    full = compile_contracts(ROOT / "protos", details)
    assert described(written) == described(without_rules(full))


def test_the_text_without_rules_has_every_comment(unpacked: Path) -> None:
    def comments(contract: FileDescriptorSet) -> set[tuple[str, str]]:
        kept = FileDescriptorSet.FromString(contract_bytes(contract)).file
        return {(file.name, place.leading_comments) for file in kept for place in file.source_code_info.location}

    written = comments(compile_contracts(unpacked / "protos-without-rules"))
    assert len(written) > 300
    assert written >= comments(compile_contracts(ROOT / "protos"))


@pytest.mark.parametrize("folders", ["innosystem buf", "innosystem buf google"])
def test_protoc_generates_from_a_checkout(tools: str, tmp_path: Path, folders: str) -> None:
    commands = "\n".join(step.command for step in steps(block("Python, with protoc", "console")))
    assert "find innosystem buf -name" in commands
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    shell(commands.replace("innosystem buf", folders), tmp_path, tools)
    # Without .pth files, and so without the SDK's stubs.
    paths = os.pathsep.join([str(tmp_path / "gen"), sysconfig.get_path("purelib")])
    code = "import innosystem.jobs.v1.job_service_pb2_grpc as it; print(it.__file__)"
    found = run(sys.executable, "-S", "-c", code, cwd=tmp_path, environment={"PYTHONPATH": paths})
    assert found.startswith(str(tmp_path))


def test_python_of_the_archive_works_with_a_service(unpacked: Path, tools: str, running: Stack) -> None:
    shell(block("Python, with protoc", "sh"), unpacked, tools)
    (unpacked / "client.py").write_text(block("Python, with protoc", "python"), "utf-8")
    paths = os.pathsep.join([str(unpacked / "gen"), sysconfig.get_path("purelib")])
    environment = {"PYTHONPATH": paths, "JOBS_ADDRESS": running.addresses["jobs"], **running.issued.operator}
    told = run(sys.executable, "-S", "client.py", cwd=unpacked, environment=environment).splitlines()
    assert told[-2] == "JOB_STATUS_SUCCEEDED"
    assert told[-1] == "IDEMPOTENCY_KEY_REUSED {'fields': 'input_json'}"


@pytest.mark.parametrize("place", ["checkout", "archive"])
def test_buf_builds_and_generates_without_a_network(place: str, unpacked: Path, tools: str, tmp_path: Path) -> None:
    folder = unpacked
    if place == "checkout":
        folder = tmp_path / "checkout"
        shutil.copytree(ROOT / "protos", folder / "protos")
        shutil.copy(ROOT / "buf.yaml", folder)
    (folder / "buf.gen.yaml").write_text(block("With buf", "yaml"), "utf-8")
    shell(block("With buf", "sh"), folder, tools)
    generated = {file.relative_to(folder / "gen").as_posix() for file in (folder / "gen").rglob("*_pb2.py")}
    assert generated == {name.replace(".proto", "_pb2.py") for name in names(ROOT / "protos")}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's client for Node.js and what it needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    packages = {"@grpc/grpc-js": "1.14.7", "@grpc/proto-loader": "0.8.1"}
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}), "utf-8")
    command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=200)
    if done.returncode:
        pytest.skip(f"npm can't install the packages: {done.stderr.strip()[-300:]}")
    (folder / "client.mjs").write_text(block("Node.js", "js"), "utf-8")
    return folder


@pytest.mark.parametrize("contract", ["protos", "protos-without-rules", "contract.binpb"])
def test_node_calls_a_service(node: Path, running: Stack, unpacked: Path, contract: str) -> None:
    contract_of = {"CONTRACT": str(unpacked / contract)}
    environment = {**contract_of, "JOBS_ADDRESS": running.addresses["jobs"], **running.issued.operator}
    told = run("node", "client.mjs", cwd=node, environment=environment).splitlines()
    assert told[0] == "replayed: true"
    assert told[-2:] == ["JOB_STATUS_SUCCEEDED BILLING_STATUS_CHARGED", "IDEMPOTENCY_KEY_REUSED"]
