import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

SDK = Path(__file__).parents[2] / "sdk"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

USE_THE_SDK = """
import importlib, pkgutil, sys
import innosystem

for package in pkgutil.walk_packages(innosystem.__path__, "innosystem."):
    importlib.import_module(package.name)
for foreign in ("buf", "grpc_tools", "hatchling", "protovalidate", "services"):
    assert foreign not in sys.modules, foreign

from importlib.resources import files
from innosystem.client import Innosystem, new_id
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest

request = CreateJobRequest(job_id=str(new_id()), input_json="{}")
assert CreateJobRequest.FromString(request.SerializeToString()) == request
assert len(files("innosystem.options").joinpath("contract.binpb").read_bytes()) > 10_000
print("used", *sorted(name for name in sys.modules if name.endswith("_pb2_grpc")))
"""

TYPED_USE = """
from innosystem.client import Innosystem
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest

async def submit(platform: Innosystem) -> str:
    reply = await platform.jobs.CreateJob(CreateJobRequest(job_id=7))
    return reply.job.attempt
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as it is for a release."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, SDK)
    (built,) = out.glob("innosystem-*.whl")
    return built


@pytest.fixture(scope="module")
def python_with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel, what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    return python


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_typed_stubs_of_every_contract(wheel: Path) -> None:
    found = contents(wheel)
    protos = SDK.parent / "protos"
    for proto in protos.rglob("*.proto"):
        stem = proto.relative_to(protos).as_posix().removesuffix(".proto")
        assert {f"{stem}_pb2.py", f"{stem}_pb2.pyi"} <= found
        if re.search(r"^service ", proto.read_text("utf-8"), re.MULTILINE):
            assert {f"{stem}_pb2_grpc.py", f"{stem}_pb2_grpc.pyi"} <= found
    for package in ("client", "customers", "jobs", "options", "wallets"):
        assert f"innosystem/{package}/py.typed" in found
    assert "innosystem/options/contract.binpb" in found


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    found = contents(wheel)
    top = {name.split("/")[0] for name in found}
    assert top == {"innosystem", "innosystem-0.1.0.dist-info"}
    # innosystem-runner shares `innosystem`: an __init__.py there would hide the other part.
    assert "innosystem/__init__.py" not in found
    assert not any("__pycache__" in name or name.endswith(".partial") for name in found)


def test_the_wheel_works_alone_in_an_empty_environment(python_with_wheel: Path) -> None:
    printed = run(python_with_wheel, "-I", "-c", USE_THE_SDK)
    assert "innosystem.jobs.v1.job_service_pb2_grpc" in printed


def test_type_checkers_see_the_types_of_the_stubs(python_with_wheel: Path, tmp_path: Path) -> None:
    module = tmp_path / "use.py"
    module.write_text(TYPED_USE, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    command += ["--cache-dir", str(tmp_path / "cache"), "--python-executable"]
    checked = subprocess.run(
        [*command, python_with_wheel, module],
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        cwd=tmp_path,
    )
    assert 'Argument "job_id" to "CreateJobRequest" has incompatible type "int"' in checked.stdout
    assert "import-untyped" not in checked.stdout, checked.stdout
    assert "import-not-found" not in checked.stdout, checked.stdout
