"""Prometheus metrics of a runner: what its handlers do, and what it has in hand."""

import collections
from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from innosystem.runner.in_hand import JobsInHand
from innosystem.runner.outcome import AwaitingCallback, Failed, Outcome, Snoozed

RUN_SECONDS = Histogram(
    "innosystem_runner_run_seconds",
    "How long handlers ran, by how they ended: succeeded, failed, snoozed, posted to an endpoint, or dropped if the"
    " result was not wanted.",
    ["handler", "outcome"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600),
)
DROPPED: Final = "dropped"
LOST_LEASES = Counter("innosystem_runner_lost_leases", "Jobs that were no longer the runner's while their handler ran.")
UNREPORTED = Counter(
    "innosystem_runner_unreported",
    "Results that were left to the platform because they could not be reported.",
    ["stage"],
)
BLOCKED_SECONDS = Counter(
    "innosystem_runner_loop_blocked_seconds", "How long handlers have kept the event loop from running."
)

LOOP_LAG = Histogram(
    "innosystem_runner_loop_lag_seconds",
    "How long the event loop took to respond, measured four times a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)


def outcome_label(outcome: Outcome) -> str:
    """Return how a run ended, for a label."""
    if isinstance(outcome, Failed):
        return "failed"
    if isinstance(outcome, AwaitingCallback):
        return "posted"
    return "snoozed" if isinstance(outcome, Snoozed) else "succeeded"


class InHandCollector(Collector):
    """The slots of a runner, and its jobs by stage.

    Args:
        in_hand: The jobs in the runner's hands.
        slots: How many handlers run concurrently at most.
    """

    def __init__(self, in_hand: JobsInHand, slots: int) -> None:
        self._in_hand = in_hand
        self._slots = slots

    @override
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "innosystem_runner_slots", "How many handlers may run at the same time.", value=self._slots
        )
        yield GaugeMetricFamily(
            "innosystem_runner_stuck_handlers",
            "Slots taken by handlers that did not stop at their timeout.",
            value=self._in_hand.stuck,
        )
        jobs = GaugeMetricFamily("innosystem_runner_jobs", "Jobs in the runner's hands, by stage.", labels=["stage"])
        # Prometheus reads in a thread of its own.
        for stage, number in sorted(collections.Counter(job.stage for job in self._in_hand.jobs).items()):
            jobs.add_metric([stage], number)
        yield jobs
