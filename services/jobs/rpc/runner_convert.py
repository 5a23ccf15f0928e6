"""Conversion between the messages about runners and the domain."""

from datetime import timedelta
from uuid import UUID

from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import runner_pb2
from services.jobs.rules.runners import Announcement, Runner, RunnerState
from services.kit.auth.principal import ANYONE, Principal
from services.kit.rpc.convert import numbers, timestamp

_STATES = numbers(RunnerState, runner_pb2.RunnerState, "RUNNER_STATE_")
_ANNOUNCED = {_STATES[state]: state for state in (RunnerState.STOPPING, RunnerState.STOPPED)}


def announcement(request: pb.ClaimJobsRequest, who: Principal = ANYONE) -> Announcement:
    """Return what a runner says about itself, by its caller, in a call that satisfies the contract."""
    info = request.info
    return Announcement(
        runner_id=UUID(request.runner_id),
        # PostgreSQL stores no NUL, and the contract did not refuse it in these from the beginning.
        queues=[_storable(one) for one in request.queues],
        handlers=[_storable(one) for one in request.handlers],
        host=info.host,
        process_id=info.process_id,
        version=info.version,
        language=info.language,
        slots=info.slots,
        busy=info.busy,
        processes=info.processes,
        uptime=info.uptime.ToTimedelta() if info.HasField("uptime") else timedelta(0),
        state=_ANNOUNCED.get(info.state, RunnerState.ACTIVE),
        announced_by=who.actor,
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def runner_message(runner: Runner) -> runner_pb2.Runner:
    """Return the message of a runner."""
    return runner_pb2.Runner(
        id=str(runner.id),
        state=_STATES[runner.state],
        host=runner.host,
        process_id=runner.process_id,
        version=runner.version,
        language=runner.language,
        queues=runner.queues,
        handlers=runner.handlers,
        slots=runner.slots,
        busy=runner.busy,
        processes=runner.processes,
        started_at=timestamp(runner.started_at),
        last_seen_at=timestamp(runner.last_seen_at),
    )
