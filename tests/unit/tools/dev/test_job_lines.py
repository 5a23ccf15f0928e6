"""What an author sees of a failure."""

from pathlib import Path

import pytest

from tools.dev.job_lines import authors_part, place

TRACE = """Traceback (most recent call last):
  File "/x/runner/src/innosystem/runner/calling.py", line 20, in call_blocking
    return function(*given)
           ^^^^^^^^^^^^^^^^
  File "{folder}/my_handlers.py", line 8, in greet
    return json.loads(input)
           ^^^^^^^^^^^^^^^^^
  File "/venv/lib/python3.11/site-packages/orjson/__init__.py", line 3, in loads
    raise ValueError
ValueError
"""


def test_the_frames_of_the_runner_are_left_out() -> None:
    assert (
        authors_part(TRACE)
        == TRACE.replace(TRACE[TRACE.index("  File") : TRACE.index('  File "{folder}')], "").rstrip()
    )


def test_the_place_of_a_failure_is_the_last_line_of_the_authors_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place(TRACE.format(folder="/else")) == "/else/my_handlers.py:8, in greet"
    monkeypatch.chdir(tmp_path)
    assert place(TRACE.format(folder=tmp_path)) == "my_handlers.py:8, in greet"


def test_a_failure_without_a_traceback_has_no_place() -> None:
    assert place("") == ""
