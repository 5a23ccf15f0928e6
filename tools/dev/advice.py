"""What a runner logs about handlers that block or do not stop, as sentences with advice for their author."""

from collections.abc import Mapping
from typing import Any, Final

_BLOCKS: Final = "Write `def` instead of `async def` for work that blocks"
_CAN_STOP: Final = "Ask job.stop_requested() in its loop, or register it with process=True"


def advice(fields: Mapping[str, Any]) -> str | None:
    """Return a sentence for a line of a runner's log; None for lines that say it themselves.

    Args:
        fields: The fields of the line.
    """
    who = _who(fields)
    match fields["event"]:
        case "loop_blocked":
            return f"{who} keeps the event loop, and with it every other job of the runner, from running. {_BLOCKS}."
        case "loop_blocked_for_too_long":
            return (
                f"{who} kept the event loop from running for {fields['seconds']:.0f} s: this ends the runner. The job "
                f"runs again when its lease ends, in about a minute. {_BLOCKS}."
            )
        case "runner_restarts":
            return f"The runner starts anew: {fields['reason']}."
        case "timeout_not_enforced":
            return (
                f"{who} took {fields['seconds']:.1f} s, more than its timeout of {fields['timeout_seconds']:g} s, "
                f"because the event loop was blocked; its result counts. {_BLOCKS}."
            )
        case "handler_overdue":
            return f"{who} is to stop, and still runs: a thread cannot be stopped from outside. {_CAN_STOP}."
        case "handler_stuck":
            return f"{who} did not stop. Its slot stays taken until it returns, and its result does not count."
        case "job_returned":
            return f"The job {fields['job_id']} returns to the queue, and runs again."
        case "handlers_abandoned":
            return "The runner ends without waiting longer for handlers that still run."
        case _:
            return None


def _who(fields: Mapping[str, Any]) -> str:
    if fields.get("handler"):
        return f"The handler {fields['handler']} (job {fields['job_id']})"
    # The watchdog of the loop is no part of a run; it knows the task by its name, `handler ID of job ID`.
    words = str(fields.get("task") or "").partition(" of job ")
    if words[0].startswith("handler ") and words[2]:
        return f"The handler {words[0].removeprefix('handler ')} (job {words[2]})"
    return "A handler"
