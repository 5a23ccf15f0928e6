"""The log of the runner under development, for people: a line for each job, and what its handler wrote."""

import asyncio
import re
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from grpc import RpcError
from rich.console import Console
from rich.text import Text

from innosystem.client import Innosystem, watch_job
from innosystem.jobs.v1.job_pb2 import (
    BILLING_STATUS_CHARGE_DUE,
    BILLING_STATUS_CHARGED,
    JOB_STATUS_FAILED,
    JOB_STATUS_RUNNING,
    JOB_STATUS_SUCCEEDED,
    BillingStatus,
    Job,
)
from services.kit.currencies import money
from tools.dev.advice import advice
from tools.local.log_text import for_people, local_time, parse

# What the runner logs in ordinary operation, and what the line of the job says better.
_QUIET: Final = frozenset({"runner_ready", "draining", "drained", "handing_back", "result_dropped"})
_WATCHES: Final = 50
_SETTLED_SECONDS_MAX: Final = 10.0
_ID_LENGTH: Final = 13  # The time of a UUID of version 7: enough to find the job by.
_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
_BEFORE_THE_LAST: Final = re.compile(r"^(?:The above exception was|During handling of the above) .*$", re.MULTILINE)
_MILLISECONDS_SHOWN_BELOW: Final = 1.0


class JobLines:
    """Shows the lines of a runner.

    Args:
        platform: A client of the services, which know what was charged.
    """

    def __init__(self, platform: Innosystem) -> None:
        self._platform = platform
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._watches = asyncio.Semaphore(_WATCHES)
        self._pending: set[asyncio.Task[None]] = set()

    def show(self, line: str) -> None:
        """Show a line of the runner's output: what its handlers print, as it is, and lines of the log as text."""
        fields = parse(line)
        if fields is None:
            print(line, flush=True)
        elif fields["event"] in ("job_succeeded", "job_failed"):
            if trace := fields.get("exception"):
                print(authors_part(trace), flush=True)
            task = asyncio.create_task(self._show_job(fields))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
        elif (sentence := advice(fields)) is not None:
            where = place(str(fields.get("stack", "")))
            print(f"{local_time(fields)} {sentence}{f' It is at {where}.' if where else ''}", flush=True)
        elif fields["event"] not in _QUIET:
            print(for_people({name: value for name, value in fields.items() if name != "job_id"}), flush=True)

    async def close(self) -> None:
        """Wait for the lines of jobs that have ended."""
        await asyncio.gather(*self._pending)

    async def _show_job(self, fields: Mapping[str, Any]) -> None:
        succeeded = fields["event"] == "job_succeeded"
        async with self._watches:
            job = await self._settled(str(fields["job_id"]), fields)
        self._console.print(
            Text.assemble(
                (f"{local_time(dict(fields))} ", "dim"),
                (f"{fields['handler']} ", "bold"),
                f"{str(fields['job_id'])[:_ID_LENGTH]} ",
                ("succeeded" if succeeded else "failed", "green" if succeeded else "red"),
                f" in {_duration(fields['seconds'])}{'' if succeeded else _error(fields)}",
                f", {_money(job)}",
            )
        )

    async def _settled(self, job_id: str, fields: Mapping[str, Any]) -> Job | None:
        """Return the job after this run: settled if it is final; None if the services do not say."""
        last = None
        try:
            async with (
                asyncio.timeout(_SETTLED_SECONDS_MAX),
                aclosing(watch_job(self._platform.jobs, job_id, give_up_seconds=1)) as states,
            ):
                async for last in states:
                    if fields["event"] == "job_failed" and last.status != JOB_STATUS_RUNNING:
                        break
        except (RpcError, TimeoutError):
            # The line is about the run; what is not known of the money is left out.
            return last
        return last


def authors_part(trace: str) -> str:
    """Return a traceback without the frames of the runner."""
    kept, skips = [], False
    for line in trace.rstrip("\n").splitlines():
        if frame := _FRAME.match(line):
            skips = "/innosystem/runner/" in frame[1] and "/examples/" not in frame[1]
        elif not line.startswith("    "):
            skips = False
        if not skips:
            kept.append(line)
    return "\n".join(kept)


def place(trace: str) -> str:
    """Return where a traceback ends in the author's own code, such as `my_handlers.py:9, in greet`; else empty."""
    raised = _BEFORE_THE_LAST.split(authors_part(trace))[-1]
    frames = [frame for frame in _FRAME.findall(raised) if not frame[0].startswith(sys.base_prefix)]
    own = [frame for frame in frames if "/site-packages/" not in frame[0]] or frames
    if not own:
        return ""
    file, line, function = own[-1]
    return (
        f"{Path(file).relative_to(Path.cwd()) if Path(file).is_relative_to(Path.cwd()) else file}:{line}, in {function}"
    )


def _error(fields: Mapping[str, Any]) -> str:
    message = str(fields.get("error", "")).splitlines()
    return f": {fields.get('error_type')}" + (f": {message[0]}" if message else "")


def _money(job: Job | None) -> str:
    if job is None:
        return "charge unknown"
    if job.status == JOB_STATUS_FAILED:
        return "not charged"
    if job.status != JOB_STATUS_SUCCEEDED:
        return f"attempt {job.attempt} of {job.max_attempts}, will be repeated"
    if job.billing_status == BILLING_STATUS_CHARGED:
        return f"{money(job.cost_cents, job.currency)} charged"
    if not job.cost_cents:
        return "free"
    if job.billing_status == BILLING_STATUS_CHARGE_DUE:
        return "charge due"
    return f"not charged: {BillingStatus.Name(job.billing_status).removeprefix('BILLING_STATUS_')}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < _MILLISECONDS_SHOWN_BELOW else f"{seconds:.1f} s"
