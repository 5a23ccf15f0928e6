"""Log lines of the runner, as a process writes them."""

import json
import subprocess
import sys
from typing import Any

from tests.support.terminal import on_a_pipe, on_a_terminal

CODE = """
import structlog
from innosystem.runner.logs import configure_logs
configure_logs()
log = structlog.get_logger()
class Rude:
    def __repr__(self):
        raise RuntimeError
cycle = []
cycle.append(cycle)
log.warning("job_failed", error="a\\udcff", large=2**70, rude=Rude(), cycle=cycle, nan=float("nan"), fine={1: [None]})
print("printed \\udcff")
"""


def test_no_value_keeps_a_line_from_being_written_or_stops_who_logs_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    line: dict[str, Any] = json.loads(first)

    assert done.stderr == ""
    assert (line["event"], line["fine"], line["large"]) == ("job_failed", {"1": [None]}, str(2**70))
    assert (line["error"], line["cycle"], line["nan"]) == ("'a\\udcff'", "[[...]]", None)
    assert "RuntimeError" in line["rude"]
    assert second == "printed \\udcff"


def test_a_runner_logs_for_people_on_a_terminal_and_json_elsewhere() -> None:
    by_default = "from innosystem.runner.logs import configure_logs; configure_logs()\n"
    explicit = "from innosystem.runner.logs import configure_logs; configure_logs(log_format='json')\n"
    hello = "import structlog; structlog.get_logger().info('hello', number=42)"

    assert json.loads(on_a_pipe(by_default + hello))["number"] == 42
    assert json.loads(on_a_terminal(explicit + hello))["number"] == 42
    assert not on_a_terminal(by_default + hello).startswith("{")
    assert "hello" in on_a_terminal(by_default + hello)
