"""What an author reads about handlers that block or do not stop."""

import asyncio
import json

import pytest

from innosystem.client import Innosystem
from tools.dev.advice import advice
from tools.dev.job_lines import JobLines

TASK = "handler greet of job 0199-5"
RUN = {"handler": "greet", "job_id": "0199-5"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"event": "loop_blocked", "seconds": 1.2, "task": TASK, "stack": ""},
            ["The handler greet (job 0199-5) keeps the event loop", "Write `def`"],
        ),
        ({"event": "loop_blocked", "seconds": 1.2, "task": None}, ["A handler keeps the event loop"]),
        (
            {"event": "loop_blocked_for_too_long", "seconds": 60.1, "task": TASK},
            ["kept the event loop from running for 60 s", "runs again when its lease ends", "Write `def`"],
        ),
        ({"event": "runner_restarts", "reason": "a handler blocked"}, ["The runner starts anew: a handler blocked."]),
        (
            {"event": "timeout_not_enforced", "seconds": 3.04, "timeout_seconds": 1.0, **RUN},
            ["took 3.0 s, more than its timeout of 1 s", "its result counts"],
        ),
        (
            {"event": "handler_overdue", "stop_seconds": 10.0, **RUN},
            ["The handler greet (job 0199-5)", "job.stop_requested()", "process=True"],
        ),
        ({"event": "handler_stuck", "stop_seconds": 10.0, **RUN}, ["The handler greet (job 0199-5) did not stop"]),
        ({"event": "job_returned", "job_id": "0199-5"}, ["The job 0199-5 returns to the queue"]),
        ({"event": "handlers_abandoned"}, ["The runner ends"]),
    ],
)
def test_each_event_is_a_sentence_that_names_the_handler_and_the_remedy(
    fields: dict[str, object], words: list[str]
) -> None:
    sentence = advice(fields)
    assert sentence is not None
    assert [each for each in words if each not in sentence] == []
    assert "10" not in sentence


def test_other_events_speak_for_themselves() -> None:
    assert advice({"event": "claim_refused"}) is None


def test_the_sentence_says_where_the_handler_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def show() -> None:
        stack = '  File "/else/my_handlers.py", line 9, in greet\n    time.sleep(75)\n'
        async with Innosystem(customers="localhost:1", wallets="localhost:1", jobs="localhost:1") as platform:
            JobLines(platform).show(json.dumps({"event": "loop_blocked", "seconds": 1, "task": TASK, "stack": stack}))

    asyncio.run(show())
    assert capsys.readouterr().out.rstrip().endswith("It is at /else/my_handlers.py:9, in greet.")
