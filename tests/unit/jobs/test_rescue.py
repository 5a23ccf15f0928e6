"""What a lost run makes of its job, and that in the end the innocent have succeeded and who kills has failed."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.transitions import deaths as deaths_module
from services.jobs.rules.transitions.changes import Failure
from services.jobs.rules.transitions.completion import Completion, Ending, ending
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.rescue import Rescue, is_suspect, rescued, short_losses
from tests.support.jobs_examples import NOW, stored_job

RULES = DeathRules()
RUNNER = uuid7()
MINUTE = timedelta(minutes=1)
LEASE = uuid7()


def lost(ran_for: timedelta = MINUTE, runner_id: UUID = RUNNER, **values: Any) -> Job:
    """Return a RUNNING job whose lease has ended."""
    return stored_job(
        status=JobStatus.RUNNING,
        attempt=1,
        runner_id=runner_id,
        lease_id=LEASE,
        started_at=NOW,
        lease_expires_at=NOW + ran_for,
        **values,
    )


def judged(*jobs: Job, begun: int | None = None) -> list[Rescue]:
    """Return the rescues, where all are rescued."""
    known = short_losses(jobs, RULES) if begun is None else {RUNNER: begun}
    rescues, removals = rescued(jobs, known, RULES)
    assert removals == []
    return rescues


@pytest.mark.parametrize(
    ("job", "begun", "deaths"),
    [
        (lost(), 1, 1),
        (lost(), 2, 1),
        (lost(), 3, 0),
        (lost(deaths=2), 1, 3),
        (lost(10 * MINUTE), 1, 0),
        (lost(10 * MINUTE, rescue_count=100), 1, 0),
        (lost(rescue_count=50), 32, 1),
    ],
    ids=["alone", "one of two", "one of three", "again", "ran for long", "ran for long, always", "far too often"],
)
def test_a_death_counts_only_against_a_job_that_was_one_of_few_that_had_just_begun(
    job: Job, begun: int, deaths: int
) -> None:
    assert [one.deaths for one in judged(job, begun=begun)] == [deaths]


def test_of_two_the_one_that_was_there_at_more_deaths_is_the_suspect() -> None:
    killer, other = lost(rescue_count=3, deaths=1), lost(rescue_count=1)
    assert [one.deaths for one in judged(killer, other)] == [2, 0]


def test_jobs_that_have_run_for_long_are_no_company() -> None:
    killer, others = lost(), [lost(20 * MINUTE, rescue_count=9) for _ in range(31)]
    rescues = judged(killer, *others)
    assert [one.deaths for one in rescues] == [1] + [0] * 31
    assert {one.run_at for one in rescues} == {None}


def test_the_first_rescue_is_at_once_and_the_waits_after_that_grow_up_to_a_limit() -> None:
    company = [lost() for _ in range(5)]
    waits = [judged(lost(rescue_count=count), *company)[0].run_at for count in range(20)]
    assert waits[0] is None
    for number, wait in enumerate(waits[1:]):
        assert wait is not None
        assert 0.5 <= wait / min(RULES.wait * 2**number, RULES.wait_max) <= 1.5


@pytest.mark.parametrize(("deaths", "failed"), [(4, False), (5, True)])
def test_who_has_ended_too_many_runners_is_given_up(deaths: int, failed: bool) -> None:
    job = lost(deaths=deaths, rescue_count=deaths, billing_status=BillingStatus.HELD, hold_id=uuid7())
    rescues, removals = rescued([job], {RUNNER: 1}, RULES)
    assert (len(rescues), len(removals)) == ((0, 1) if failed else (1, 0))
    if failed:
        [end] = removals
        assert (end.status, end.billing_status, end.error.type) == (
            JobStatus.FAILED,
            BillingStatus.RELEASE_DUE,
            "RUNNER_LOST",
        )


def test_a_job_runs_alone_once_a_death_counts_against_it_or_its_runner_was_lost_twice_soon_after_its_start() -> None:
    [once] = [one.early_losses for one in judged(*[lost()] * 3)][:1]
    [for_long] = [one.early_losses for one in judged(lost(10 * MINUTE, early_losses=1))]
    [twice] = [one.early_losses for one in judged(lost(early_losses=once))]
    assert (once, for_long, twice) == (1, 1, 2)
    assert not is_suspect(lost(early_losses=for_long, rescue_count=100))
    assert is_suspect(lost(early_losses=twice))
    assert is_suspect(lost(deaths=1))


def died(job: Job, *, retryable: bool = True) -> Ending:
    failure = Failure(type="PROCESS_DIED", message="killed by SIGKILL", retryable=retryable)
    return ending(job, Completion(job_id=job.id, lease_id=LEASE, outcome=failure), rules=RULES, settle_after=MINUTE)


def test_a_job_whose_own_process_dies_is_run_again_after_a_growing_wait_and_no_attempt_is_used_up() -> None:
    waits = []
    for deaths in range(5):
        end = died(lost(deaths=deaths, max_attempts=1))
        assert (end.status, end.attempt, end.deaths) == (JobStatus.SCHEDULED, 0, deaths + 1)
        assert end.run_at is not None
        assert 0.5 <= end.run_at / (RULES.wait * 2**deaths) <= 1.5
        waits.append(end.run_at)


def test_a_job_whose_own_process_dies_too_often_has_failed_and_says_so() -> None:
    end = died(lost(deaths=5, max_attempts=3, billing_status=BillingStatus.HELD, hold_id=uuid7()))
    assert (end.status, end.billing_status, end.attempt, end.run_at) == (
        JobStatus.FAILED,
        BillingStatus.RELEASE_DUE,
        1,
        None,
    )
    assert end.error is not None
    assert end.error.type == "PROCESS_DIED"


def test_a_process_that_dies_of_something_that_no_repetition_cures_fails_the_job_at_once() -> None:
    end = died(lost(max_attempts=3), retryable=False)
    assert (end.status, end.attempt, end.deaths) == (JobStatus.FAILED, 1, 0)


@dataclass(frozen=True)
class Load:
    """What runners are given.

    Attributes:
        seconds: How long an innocent job runs. What kills does so after two seconds.
    """

    runners: int
    innocents: int
    seconds: float
    killers: int


# Two runners' deaths, each noticed at the end of a lease of a minute, and then some at a time in processes.
SOON_SECONDS = 300


class Simulation:
    """Runners of an older release, which run 32 jobs in one process: a job that kills ends the others as well."""

    slots, lease_seconds = 32, 60.0

    def __init__(self, load: Load, chance: Random) -> None:
        self.killers = {uuid7() for _ in range(load.killers)}
        self.work = {**dict.fromkeys(self.killers, 2.0), **{uuid7(): load.seconds for _ in range(load.innocents)}}
        self.ended: dict[UUID, JobStatus] = {}
        self.ended_at: dict[UUID, float] = {}
        self.seconds = 0.0
        self._chance = chance
        self._jobs = {one: stored_job(id=one) for one in self.work}
        self._waiting = list(self.work)
        # When the jobs of each runner were begun, and how many lives it has had.
        self._running: list[dict[UUID, float]] = [{} for _ in range(load.runners)]
        self._lives = [0] * load.runners
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def run(self, days_max: float) -> None:
        """Run until all jobs have ended."""
        self._take()
        while self._events and len(self.ended) < len(self.work):
            self.seconds, _, happen = heapq.heappop(self._events)
            assert self.seconds < days_max * 86400, f"still running: {self.work.keys() - self.ended.keys()}"
            happen()
            self.ended_at.update(dict.fromkeys(self.ended.keys() - self.ended_at.keys(), self.seconds))
            self._take()

    def _after(self, seconds: float, happen: Callable[..., None], *about: Any) -> None:
        event: tuple[float, int, Callable[[], None]] = (
            self.seconds + seconds,
            next(self._order),
            partial(happen, *about),
        )
        heapq.heappush(self._events, event)

    def _take(self) -> None:
        for runner in sorted(range(len(self._running)), key=lambda _: self._chance.random()):
            while self._waiting and len(self._running[runner]) < self.slots:
                job_id = self._waiting.pop(0)
                self._running[runner][job_id] = self.seconds
                self._after(self.work[job_id], self._over, runner, self._lives[runner], job_id)

    def _over(self, runner: int, life: int, job_id: UUID) -> None:
        if life != self._lives[runner]:
            return
        if job_id not in self.killers:
            del self._running[runner][job_id]
            self.ended[job_id] = JobStatus.SUCCEEDED
            return
        self._lose(runner)

    def _lose(self, runner: int) -> None:
        self._lives[runner] += 1
        died, self._running[runner] = self._running[runner], {}
        held = [lost(timedelta(seconds=self.seconds - began + self.lease_seconds)) for began in died.values()]
        named = zip(died, held, strict=True)
        self._after(self.lease_seconds, self._rescue, {job_id: job.lease_expires_at for job_id, job in named})

    def _rescue(self, died: dict[UUID, datetime]) -> None:
        runs: dict[str, Any] = {"status": JobStatus.RUNNING, "runner_id": RUNNER, "lease_id": LEASE, "started_at": NOW}
        held = [replace(self._jobs[key], **runs, lease_expires_at=until) for key, until in died.items()]
        rescues, removals = rescued(held, short_losses(held, RULES), RULES)
        self.ended.update((removal.job_id, removal.status) for removal in removals)
        for one in rescues:
            job = self._jobs[one.job_id]
            self._jobs[one.job_id] = replace(
                job, rescue_count=job.rescue_count + 1, deaths=one.deaths, early_losses=one.early_losses
            )
            self._after((one.run_at or timedelta(0)).total_seconds(), self._waiting.append, one.job_id)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "load",
    [
        Load(1, 7, 6, 1),
        Load(1, 31, 6, 1),
        Load(1, 31, 300, 1),
        Load(1, 31, 1800, 1),
        Load(3, 200, 60, 3),
        Load(2, 5000, 120, 1),
    ],
    ids=["few", "a full runner", "of five minutes", "of half an hour", "three that kill", "a long queue"],
)
def test_beside_runners_that_isolate_nothing_all_innocents_succeed_and_who_kills_fails(
    monkeypatch: pytest.MonkeyPatch, seed: int, load: Load
) -> None:
    chance = Random(seed)
    monkeypatch.setattr(deaths_module, "random", chance)
    simulation = Simulation(load, chance)
    simulation.run(days_max=2)
    assert {one for one, status in simulation.ended.items() if status is JobStatus.FAILED} == simulation.killers
    assert len(simulation.ended) == len(simulation.work)


class IsolatingSimulation(Simulation):
    """Runners on a crowded machine, which run suspects alone in two processes each. A process takes long to start."""

    processes, start_seconds, away_seconds = 2, 10.0, 10.0

    def __init__(self, load: Load, chance: Random) -> None:
        super().__init__(load, chance)
        self._parked: list[list[UUID]] = [[] for _ in range(load.runners)]
        self._isolated: list[set[UUID]] = [set() for _ in range(load.runners)]
        self._free = [self.processes] * load.runners

    @property
    def lost_runners(self) -> int:
        """How many runners have died."""
        return sum(self._lives)

    def _take(self) -> None:
        for runner in sorted(range(len(self._running)), key=lambda _: self._chance.random()):
            while self._waiting and len(self._running[runner]) < self.slots:
                job_id = self._waiting.pop(0)
                if not is_suspect(self._jobs[job_id]):
                    self._running[runner][job_id] = self.seconds
                    self._after(self.work[job_id], self._over, runner, self._lives[runner], job_id)
                elif len(self._parked[runner]) < self.slots:
                    self._parked[runner].append(job_id)
                else:
                    self._after(self.away_seconds, self._waiting.append, job_id)
            self._isolate(runner)

    def _isolate(self, runner: int) -> None:
        while self._parked[runner] and self._free[runner]:
            job_id = self._parked[runner].pop(0)
            self._free[runner] -= 1
            self._isolated[runner].add(job_id)
            self._after(self.work[job_id], self._over_alone, runner, self._lives[runner], job_id)

    def _over_alone(self, runner: int, life: int, job_id: UUID) -> None:
        if life != self._lives[runner]:
            return
        self._isolated[runner].remove(job_id)
        if job_id not in self.killers:
            self._free[runner] += 1
            self.ended[job_id] = JobStatus.SUCCEEDED
            return
        self._after(self.start_seconds, self._process_is_back, runner, life)
        end = died(replace(self._jobs[job_id], status=JobStatus.RUNNING, lease_id=LEASE, max_attempts=1))
        self._jobs[job_id] = replace(self._jobs[job_id], deaths=end.deaths)
        if end.run_at is None:
            self.ended[job_id] = end.status
        else:
            self._after(end.run_at.total_seconds(), self._waiting.append, job_id)

    def _process_is_back(self, runner: int, life: int) -> None:
        self._free[runner] += life == self._lives[runner]

    def _lose(self, runner: int) -> None:
        others = [*self._parked[runner], *self._isolated[runner]]
        self._running[runner].update(dict.fromkeys(others, self.seconds))
        self._parked[runner], self._isolated[runner], self._free[runner] = [], set(), self.processes
        super()._lose(runner)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "load",
    [Load(1, 31, 6, 1), Load(2, 100, 6, 8), Load(2, 500, 2, 8), Load(8, 1000, 6, 3)],
    ids=["a full runner", "eight that kill", "a queue behind them", "many runners"],
)
def test_beside_runners_that_isolate_suspects_who_kills_takes_two_of_them_and_the_innocent_are_done_soon(
    monkeypatch: pytest.MonkeyPatch, seed: int, load: Load
) -> None:
    chance = Random(seed)
    monkeypatch.setattr(deaths_module, "random", chance)
    simulation = IsolatingSimulation(load, chance)
    simulation.run(days_max=1)
    assert {one for one, status in simulation.ended.items() if status is JobStatus.FAILED} == simulation.killers
    assert len(simulation.ended) == len(simulation.work)
    assert simulation.lost_runners <= 2 * load.killers
    assert max(simulation.ended_at[one] for one in simulation.work.keys() - simulation.killers) < SOON_SECONDS
