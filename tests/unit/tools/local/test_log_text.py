"""Lines of logs as text for people."""

import json

from tools.local.log_text import for_people, parse, serious


def test_a_line_shows_level_event_and_fields_and_the_traceback_below() -> None:
    line = {
        "service": "runner",
        "level": "error",
        "event": "part_failed",
        "timestamp": "2026-11-29T01:00:00Z",
        "jobs": 3,
        "request_id": "r",
        "exception": "Traceback\nValueError: no",
    }
    shown = for_people(line)
    assert shown[8:] == " error   part_failed jobs=3\n  Traceback\n  ValueError: no"


def test_what_a_program_prints_is_no_line_of_the_log() -> None:
    assert [parse(text) for text in ("hello", "{half", "[1]", "{}", '{"event": 1}')] == [None] * 5


def test_errors_are_kept_and_calls_are_not() -> None:
    lines = [
        json.dumps({"event": "call", "level": "info"}),
        "Traceback",
        json.dumps({"event": "bad", "level": "error"}),
    ]
    found = serious(lines)
    assert found[0] == "Traceback"
    assert found[1].endswith("error   bad")
