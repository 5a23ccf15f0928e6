import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

SDK = Path(__file__).parents[3] / "sdk"
RUNNER = SDK.parent / "runner"
VERSION = tomllib.loads((SDK / "pyproject.toml").read_text("utf-8"))["project"]["version"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

USE_THE_SDK = """
import importlib, pkgutil, sys
import innosystem

# These two are for services and runners, which have pydantic, structlog and Prometheus.
of_processes = {"innosystem.shared.secret_settings", "innosystem.shared.tls_renewals"}
for package in pkgutil.walk_packages(innosystem.__path__, "innosystem."):
    if package.name not in of_processes:
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


USE_THE_RUNNER = """
import sys
from innosystem.runner import handler
from innosystem.runner.testing import run_handler

@handler("double")
def double(input):
    return input * 2

assert run_handler("double", 10**30) == 2 * 10**30
for foreign in ("buf", "services", "sqlalchemy"):
    assert foreign not in sys.modules, foreign
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(project: Path, out: Path) -> Path:
    """Build a wheel, from the source distribution as it is for a release."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, project)
    (built,) = out.glob("*.whl")
    return built


def environment(folder: Path, *wheels: Path) -> Path:
    """Create an environment that holds the wheels, what they depend on, and nothing else; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", *wheels)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK's wheel."""
    return build(SDK, tmp_path_factory.mktemp("sdk"))


@pytest.fixture(scope="module")
def python_with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the SDK."""
    return environment(tmp_path_factory.mktemp("environment"), wheel)


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_typed_stubs_of_every_contract(wheel: Path) -> None:
    found = contents(wheel)
    protos = SDK.parent / "protos"
    for proto in (protos / "innosystem").rglob("*.proto"):
        stem = proto.relative_to(protos).as_posix().removesuffix(".proto")
        assert {f"{stem}_pb2.py", f"{stem}_pb2.pyi"} <= found
        if re.search(r"^service ", proto.read_text("utf-8"), re.MULTILINE):
            assert {f"{stem}_pb2_grpc.py", f"{stem}_pb2_grpc.pyi"} <= found
    for package in ("client", "customers", "jobs", "options", "shared", "wallets"):
        assert f"innosystem/{package}/py.typed" in found
    assert "innosystem/options/contract.binpb" in found


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    found = contents(wheel)
    top = {name.split("/")[0] for name in found}
    assert top == {"innosystem", f"innosystem-{VERSION}.dist-info"}
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


def test_the_runners_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    runner = build(RUNNER, tmp_path / "dist")
    assert {name.split("/")[0] for name in contents(runner)} == {"innosystem", f"innosystem_runner-{VERSION}.dist-info"}
    python = environment(tmp_path / "environment", wheel, runner)
    run(python, "-I", "-c", USE_THE_RUNNER)
    (tmp_path / "my_handlers.py").write_text(USE_THE_RUNNER, "utf-8")
    told = run(python, "-m", "innosystem.runner", "--help", cwd=tmp_path)
    assert "--handlers" in told
