"""What happened in a run, in numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.support.fault_injection import Inflictor
from tests.chaos.support.load import Load
from tests.chaos.support.oracle import INSUFFICIENT_FUNDS, Evidence, repeats
from tests.chaos.support.platform import Platform


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The numbers of a run.

    Attributes:
        jobs: How many jobs were accepted, by how they ended.
        billing: The same jobs by billing status.
        holds: How many holds there were, by what became of them, and how many of the released ones had no job.
        money: How often a job was refused for want of money and in the end, and how often one was run again.
        faults: How many faults there were, by sort.
        rescues: How often a job lost its runner.
        requeues: How many IDs the reconciler pushed again.
        replays: Repeated calls that found their work done: submissions, and charges of runners.
        late_completions: What completions under leases that had passed were returned.
        repeated: Executions beyond what the handlers ask for, by reason.
        failures: How often calls of the load failed, by what they said.
        longest_seconds: The longest time from acceptance (or run_at) to the end of a job.
        processes: How many processes were started.
    """

    jobs: Mapping[str, int]
    billing: Mapping[str, int]
    holds: Mapping[str, int]
    money: Mapping[str, int]
    faults: Mapping[str, int]
    rescues: int
    requeues: int
    replays: Mapping[str, int]
    late_completions: Mapping[str, int]
    repeated: Mapping[str, int]
    failures: Mapping[str, int]
    longest_seconds: float
    processes: int

    @property
    def line(self) -> str:
        """The most important ones."""
        return (
            f"{sum(self.jobs.values())} jobs, {sum(self.faults.values())} faults, {self.rescues} rescues, "
            f"{self.requeues} requeues, {sum(self.replays.values())} replays, "
            f"{sum(self.repeated.values())} executions more than once ({_listed(self.repeated)}), "
            f"longest delay {self.longest_seconds:.1f} s"
        )

    @property
    def report(self) -> list[str]:
        """All of them, a line each."""
        return [
            f"jobs: {_listed(self.jobs)}",
            f"billing: {_listed(self.billing)}",
            f"holds: {_listed(self.holds)}",
            f"want of money, and runs anew: {_listed(self.money)}",
            f"faults: {_listed(self.faults)}",
            f"rescues: {self.rescues}; requeues: {self.requeues}; replays: {_listed(self.replays)}",
            f"late completions: {_listed(self.late_completions)}",
            f"executions more than once: {_listed(self.repeated)}",
            f"failures of calls: {_listed(self.failures)}",
            f"processes started: {self.processes}",
            f"longest delay from acceptance to the end of a job: {self.longest_seconds:.1f} s",
        ]


def figures(evidence: Evidence, load: Load, inflictor: Inflictor, platform: Platform) -> Figures:
    """Count."""
    rows = evidence.books.jobs
    repeated: Counter[str] = Counter()
    for job_id, submission in evidence.submissions.items():
        if (job := rows.get(job_id)) is not None:
            repeated += repeats(evidence, submission, job)
    replays = Counter(submission=sum(one.replayed for one in load.submissions.values()))
    for runner in platform.runners:
        replays["charge"] += len(runner.lines("job_charged", replayed=True))
    jobs_services = [member for name, member in platform.members.items() if name.startswith("jobs")]
    orphans = sum(len(member.lines("orphaned_hold_released")) for member in jobs_services)
    made = load.submissions.values()
    money = Counter(
        {
            "refused for want of money": sum(one.short for one in made),
            "not taken in the end": sum(INSUFFICIENT_FUNDS in one.refused for one in made),
            "run again": sum(one.retried == "again" for one in made),
        }
    )
    requeues = [int(line["jobs"]) for member in jobs_services for line in member.lines("jobs_pushed_again")]
    delays = [
        (job.completed_at - max(job.created_at, job.run_at or job.created_at)).total_seconds()
        for job in rows.values()
        if job.completed_at is not None
    ]
    return Figures(
        jobs=Counter(job.status for job in rows.values()),
        billing=Counter(job.billing_status for job in rows.values()),
        holds=Counter(hold.state for hold in evidence.books.holds) + Counter({"without a job": orphans}),
        money=money,
        faults=inflictor.done,
        rescues=sum(job.rescue_count for job in rows.values()),
        requeues=sum(requeues),
        replays=replays,
        late_completions=inflictor.late_completions,
        repeated=repeated,
        failures=load.failures,
        longest_seconds=max(delays, default=0.0),
        processes=sum(len(member.history) for member in platform.members.values()),
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "none"
