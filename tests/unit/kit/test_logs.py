"""Log lines, as a process writes them."""

import json
import subprocess
import sys
from typing import Any

import pytest

from services.kit.observability.logs import mask_secrets
from tests.support.terminal import on_a_pipe, on_a_terminal

# Logging is set up once a process, so that each example is a process.
_SET_UP = """
import logging, warnings, structlog
from services.kit.observability.logs import configure
from services.kit.settings import LogSettings
configure(LogSettings(level={level!r}, format={format!r}), service="shop")
log = structlog.get_logger("x")
"""


def written(code: str, level: str = "INFO", form: str = "json") -> str:
    script = _SET_UP.format(level=level, format=form) + code
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def lines(code: str, level: str = "INFO") -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(code, level).splitlines()]


def test_a_line_is_one_json_object_with_what_the_context_knows() -> None:
    [line] = lines("structlog.contextvars.bind_contextvars(request_id='r-1'); log.info('hello', number=42)")

    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "hello", "number": 42, "request_id": "r-1", "service": "shop", "level": "info"}


def test_a_service_logs_for_people_on_a_terminal_and_json_elsewhere() -> None:
    def code(form: str) -> str:
        return _SET_UP.format(level="INFO", format=form) + "log.info('hello', number=42)"

    assert json.loads(on_a_pipe(code("auto")))["number"] == 42
    assert json.loads(on_a_terminal(code("json")))["number"] == 42
    assert not on_a_terminal(code("auto")).startswith("{")
    assert "\x1b[" not in on_a_pipe(code("console"))


def test_a_line_of_one_of_several_processes_says_which() -> None:
    again = "configure(LogSettings(), service='shop', process=2); log = structlog.get_logger('y'); log.info('hello')"

    [line] = lines(again)

    assert (line["service"], line["process"]) == ("shop", 2)


def test_lines_below_the_level_are_not_written() -> None:
    assert [line["event"] for line in lines("log.info('no'); log.warning('yes')", level="WARNING")] == ["yes"]


def test_libraries_write_the_same_lines_from_warning_on() -> None:
    code = "logging.getLogger('grpc').warning('odd %s', 1); logging.getLogger('sqlalchemy').info('SELECT')"

    [line] = lines(code, level="DEBUG")

    assert (line["event"], line["logger"], line["level"], line["service"]) == ("odd 1", "grpc", "warning", "shop")


def test_warnings_of_python_become_lines() -> None:
    [line] = lines("warnings.warn('old')")

    assert "old" in line["event"]


def test_a_traceback_is_in_the_line_and_passwords_are_not() -> None:
    code = """
try:
    raise ValueError("no route to postgresql://ada:hunter2@db/shop")
except ValueError:
    log.exception("failed")
"""
    [line] = lines(code)

    assert "ValueError: no route to postgresql://ada:**********@db/shop" in line["exception"]
    assert "hunter2" not in json.dumps(line)


def test_what_json_can_not_hold_is_written_all_the_same() -> None:
    [line] = lines("log.info('odd', text='\\ud800', thing=object)")

    assert "ud800" in line["text"]
    assert line["timestamp"].endswith("Z")


RUDE = """
class Rude:
    def __repr__(self):
        raise RuntimeError
cycle = []
cycle.append(cycle)
odd = dict(path="a\\udcff", large=2**70, rude=Rude(), cycle=cycle, tuple_key={(1, 2): 3}, fine={"a": [1, None]})
"""


def test_no_value_keeps_a_line_from_being_written_or_stops_who_logs_it() -> None:
    [line] = lines(RUDE + "log.info('odd', **odd)")

    assert (line["event"], line["fine"], line["large"]) == ("odd", {"a": [1, None]}, str(2**70))
    assert (line["path"], line["cycle"]) == ("'a\\udcff'", "[[...]]")
    assert "RuntimeError" in line["rude"]


def test_a_processor_that_fails_and_arguments_that_do_not_fit_cost_the_line_and_nothing_else() -> None:
    code = """
logging.getLogger("a").warning("%d", "b")
processors = structlog.get_config()["processors"]
processors.insert(0, lambda *_: 1 / 0)
log.info("hello")
"""
    first, second = written(code).splitlines()

    assert "(TypeError): %d" in json.loads(first)["event"]
    assert second == "a line cannot be written (ZeroDivisionError): hello"


def test_the_console_is_for_people() -> None:
    text = written("log.info('hello', number=42)", form="console")

    assert "hello" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("key", ["api_key", "authorization", "password", "secret", "token"])
def test_values_under_telling_names_are_masked(key: str) -> None:
    assert mask_secrets(None, "info", {"event": "e", key: "hunter2"}) == {"event": "e", key: "**********"}
