"""How the bench reads the stacks that py-spy has collected."""

from pathlib import Path

import pytest

import innosystem.client
import innosystem.runner
import services
from tools.bench.profile.stacks import component, read, short

VENV = "/home/ada/app/.venv/lib/python3.12/site-packages"
SERVICES_FOLDER = Path(services.__file__).resolve().parent
JOBS = SERVICES_FOLDER / "jobs"
STACKS = f"""\
main (/usr/lib/python3.12/asyncio/runners.py:118);serve ({JOBS}/rpc/servicer.py:5);encode ({VENV}/orjson.py:9) 6
main (/usr/lib/python3.12/asyncio/runners.py:118);serve ({JOBS}/rpc/servicer.py:7) 3
main (/usr/lib/python3.12/asyncio/runners.py:119);serve ({JOBS}/rpc/servicer.py:8);__init__ (<string>:3) 1
 4
"""


def test_samples_are_counted_by_package_and_by_function() -> None:
    profile = read(STACKS.splitlines(keepends=True))
    assert profile.samples == 10
    assert profile.components == {"orjson": 6, "services.jobs": 3, "<string>": 1}
    assert profile.within == {"asyncio": 10, "services.jobs": 10, "orjson": 6, "<string>": 1}
    assert profile.functions == {
        "encode (orjson.py)": 6,
        "serve (services/jobs/rpc/servicer.py)": 3,
        "__init__ (<string>)": 1,
    }
    assert profile.share(profile.components["orjson"]) == 0.6


def test_a_package_that_is_twice_in_a_stack_is_counted_once() -> None:
    profile = read([f"a ({VENV}/grpc/aio.py:1);b (x.py:2);a ({VENV}/grpc/aio.py:1) 5\n"])
    assert profile.within["grpc"] == 5


def test_the_event_loops_own_work_is_told_from_what_it_calls() -> None:
    profile = read(["Runner.run (/usr/lib/python3.12/asyncio/runners.py:118) 2\n"])
    assert profile.components == {"uvloop, gRPC (in C)": 2}


def test_no_samples_are_no_shares() -> None:
    assert read([]).share(0) == 0
    assert read([" 3\n"]).samples == 0


def test_what_is_no_collapsed_stack_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not a collapsed stack: 'f \(a.py:1\)'"):
        read(["f (a.py:1)"])


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (f"{VENV}/sqlalchemy/engine/base.py", "sqlalchemy"),
        (f"{VENV}/google/protobuf/message.py", "google.protobuf"),
        (f"{VENV}/six.py", "six"),
        (f"{VENV}/services/kit/observability/logs.py", "services.kit"),
        ("/usr/lib/python3.12/asyncio/tasks.py", "asyncio"),
        ("/usr/lib/python3.12/uuid.py", "uuid"),
        (str(SERVICES_FOLDER / "kit/rpc/serving/server.py"), "services.kit"),
        (innosystem.client.__file__, "innosystem.client"),
        (innosystem.runner.__file__, "innosystem.runner"),
        ("<frozen runpy>", "<frozen runpy>"),
    ],
)
def test_a_file_belongs_to_the_package_that_imports_name(file: str, expected: str) -> None:
    assert component(file) == expected


def test_a_path_begins_where_imports_begin() -> None:
    assert short(f"{VENV}/grpc/aio/_call.py") == "grpc/aio/_call.py"
    assert (
        short(str(SERVICES_FOLDER / "jobs/usecases/submission/submit.py"))
        == "services/jobs/usecases/submission/submit.py"
    )
    assert short("/somewhere/else.py") == "/somewhere/else.py"
