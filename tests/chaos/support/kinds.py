"""The kinds of jobs of the load: what their handlers do, and so how they have to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, PROCESSOR_TYPE_SYNC, ProcessorType

SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"
NOBODYS_QUEUE = "nobody"
"""A queue that no runner takes jobs from."""
QUICK = "quick"
"""Jobs that are over as soon as they run."""
FREE = "free"
"""The same, at no price."""
POISON = "poison"
"""Jobs that kill the process that runs them."""
DEATHS_MAX = 8
"""How often a job may be suspected of a death: only those that cause them come that far."""
FLOOD = "flood"
"""Jobs that one customer submits by the ten thousands, and cancels."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of jobs.

    Attributes:
        name: Also the name of its job type.
        handler: The handler's ID.
        processor_type: How the handler is written.
        cost_cents: The price of a job; of a metered one the maximum.
        metered: Whether a job costs a cent for each unit that it reports, which follows from its input.
        max_attempts: How many runs a job gets.
        timeout_seconds: How long a run may take.
        weight: How often it is in the load, relative to the others.
        ends: The final states that the handler allows.
        error_types: What the error of a job that did not succeed may be called.
        runs: How often the handler is called when nothing goes wrong, at most.
        seconds: The shortest and the longest time that a handler takes for it; part of the input.
        waits_seconds: The shortest and the longest time until its run_at; None for a job to be run immediately.
        expires_seconds: When it expires; None for the default.
        cancelled: Whether someone takes it back at some moment.
        queue: Where it waits.
    """

    name: str
    handler: str
    processor_type: "ProcessorType.ValueType" = PROCESSOR_TYPE_ASYNC
    cost_cents: int = 3
    metered: bool = False
    max_attempts: int = 1
    timeout_seconds: float = 120
    weight: int = 2
    ends: frozenset[str] = frozenset({SUCCEEDED})
    error_types: frozenset[str] = field(default_factory=frozenset)
    runs: int = 1
    seconds: tuple[float, float] = (0, 0)
    waits_seconds: tuple[float, float] | None = None
    expires_seconds: float | None = None
    cancelled: bool = False
    queue: str = "default"

    @property
    def may_run_again(self) -> bool:
        """Whether it may end without success, and can be run again by then."""
        return bool(self.ends - {SUCCEEDED}) and self.queue != NOBODYS_QUEUE


_ALL = (
    Kind(name=QUICK, handler="chaos.returns", weight=16),
    Kind(name=FREE, handler="chaos.returns", cost_cents=0, weight=4),
    # Longer than a lease of the runners: it lives by renewals.
    Kind(name="slow", handler="chaos.takes", cost_cents=7, seconds=(0.5, 6), weight=4),
    Kind(name="thread", handler="chaos.thread", processor_type=PROCESSOR_TYPE_SYNC, seconds=(0, 3)),
    Kind(name="process", handler="chaos.process", processor_type=PROCESSOR_TYPE_SYNC, seconds=(0, 3)),
    Kind(name="fails", handler="chaos.refuses", max_attempts=3, ends=frozenset({FAILED}),
         error_types=frozenset({"REFUSED"})),
    Kind(name="gives-up", handler="chaos.breaks", max_attempts=3, ends=frozenset({FAILED}), runs=3,
         error_types=frozenset({"ValueError"})),
    Kind(name="second-time", handler="chaos.second_time", max_attempts=3, runs=2),
    # It reports usage in both attempts, and only that of the second is charged.
    Kind(name="metered", handler="chaos.meters", cost_cents=8, metered=True, max_attempts=3, runs=2, weight=4),
    Kind(name="metered-process", handler="chaos.meters_in_process", processor_type=PROCESSOR_TYPE_SYNC, cost_cents=8,
         metered=True),
    Kind(name="later", handler="chaos.later", max_attempts=2, runs=2),
    Kind(name="snoozes", handler="chaos.snoozes", runs=2),
    Kind(name="too-long", handler="chaos.takes", seconds=(30, 30), timeout_seconds=1, ends=frozenset({FAILED}),
         error_types=frozenset({"TIMEOUT"}), weight=1),
    Kind(name="too-long-process", handler="chaos.process", processor_type=PROCESSOR_TYPE_SYNC, seconds=(30, 30),
         timeout_seconds=1, ends=frozenset({FAILED}), error_types=frozenset({"TIMEOUT"}), weight=1),
    # A thread can't be stopped: its timeout is reported when it ends, and after a freeze both may be found together.
    Kind(name="too-long-thread", handler="chaos.thread", processor_type=PROCESSOR_TYPE_SYNC, seconds=(3, 3),
         timeout_seconds=1, ends=frozenset({FAILED, SUCCEEDED}), error_types=frozenset({"TIMEOUT"}), weight=1),
    Kind(name="scheduled", handler="chaos.returns", waits_seconds=(1, 6)),
    Kind(name="expires", handler="chaos.returns", expires_seconds=8, queue=NOBODYS_QUEUE, ends=frozenset({CANCELLED}),
         error_types=frozenset({"EXPIRED"}), runs=0, weight=1),
    Kind(name="taken-back", handler="chaos.takes", seconds=(0, 4), cancelled=True,
         ends=frozenset({SUCCEEDED, CANCELLED}), error_types=frozenset({"CANCELLED"}), weight=3),
    Kind(name="taken-back-scheduled", handler="chaos.returns", waits_seconds=(1, 4), cancelled=True,
         ends=frozenset({SUCCEEDED, CANCELLED}), error_types=frozenset({"CANCELLED"}), weight=1),
    # These two come by faults. What dies in a process that others have used runs once more before it counts as a death.
    Kind(name=POISON, handler="chaos.kills", ends=frozenset({FAILED}), weight=0, runs=2 * (DEATHS_MAX + 1),
         error_types=frozenset({"RUNNER_LOST", "PROCESS_DIED"})),
    # They take slots rather than the machine.
    Kind(name=FLOOD, handler="chaos.takes", cost_cents=0, weight=0, seconds=(0.1, 0.3),
         ends=frozenset({SUCCEEDED, CANCELLED}), error_types=frozenset({"CANCELLED"})),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def expected_output(inputs: Mapping[str, Any]) -> Any:
    """What every handler returns when it succeeds."""
    return {"n": inputs["n"]}


def used_units(inputs: Mapping[str, Any]) -> int:
    """What the handler of a metered job reports: none, some, and more than its maximum."""
    return int(inputs["n"]) % 12
