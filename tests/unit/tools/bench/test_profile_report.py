"""The tables of a profile."""

from collections import Counter
from pathlib import Path

from tools.bench.measures.throughput import Workload
from tools.bench.platform.consumption import PartUsage, Snapshot, usage
from tools.bench.profile import tables as profile_report
from tools.bench.profile.profiling import Profiled
from tools.bench.profile.stacks import Profile

SAMPLES = Profile(
    1000,
    Counter({"psycopg": 700, "asyncio": 299, "six": 1}),
    Counter({"asyncio": 1000, "psycopg": 700, "six": 1}),
    Counter({f"f{number} (six.py)": number for number in range(20)}),
)
PROFILED = Profiled(
    Workload("p1", 2000, 200, 1),
    1234.5,
    [PartUsage("jobs", 1.5, 1.25), PartUsage("PostgreSQL: jobs", 0.5, 0.5), PartUsage("customers", 0.01, 0.01)],
    3.0,
    0.995,
    {"jobs": 500, "customers": 0},
    {"jobs": {"BatchCreateJobs": 10}},
    {"p1-jobs": SAMPLES, "p1-customers": Profile()},
    {"p1-jobs": Path("p1-jobs.txt")},
)


def look(total: dict[int, float], names: dict[int, str]) -> Snapshot:
    """A look at nothing but processes."""
    return Snapshot(names, total, {pid: seconds / 2 for pid, seconds in total.items()}, 0, 0, {}, {})


def test_cpu_time_is_shown_by_part_and_by_job_without_what_is_too_little_to_tell() -> None:
    assert profile_report.parts(PROFILED) == [
        ["jobs", "1.50", "1.25", "750", "74.6 %"],
        ["PostgreSQL: jobs", "0.50", "0.50", "250", "24.9 %"],
        ["all of the stack", "2.01", "1.76", "1,005", "100.0 %"],
        ["others, the sampling among them", "3.00", "", "", ""],
    ]


def test_transactions_and_calls_are_shown_by_job() -> None:
    assert profile_report.counts(PROFILED) == [
        ["transactions of jobs", "500", "0.250", "4.0"],
        ["jobs: BatchCreateJobs", "10", "0.005", "200.0"],
    ]


def test_packages_have_their_own_code_and_what_it_calls() -> None:
    assert profile_report.components(SAMPLES) == [["psycopg", "70.0 %", "70.0 %"], ["asyncio", "29.9 %", "100.0 %"]]


def test_only_the_ten_largest_functions_are_shown() -> None:
    found = profile_report.functions(SAMPLES)
    assert len(found) == 10
    assert found[0] == ["f19 (six.py)", "1.9 %"]


def test_processes_without_samples_have_no_tables() -> None:
    titles = [titles[0] for titles, _ in profile_report.tables(PROFILED)]
    assert titles == ["CPU time", "", "p1-jobs: 1,000 samples; package", "function"]
    assert "P1: 2,000 jobs, 200 a call" in profile_report.headline(PROFILED)
    assert "1,234 jobs/s" in profile_report.headline(PROFILED)
    assert "99.5 % busy" in profile_report.headline(PROFILED)


def test_processes_of_a_part_are_added_and_new_ones_had_nothing_before() -> None:
    before = look({1: 10.0, 2: 1.0, 9: 5.0}, {1: "jobs", 2: "PostgreSQL: jobs", 9: "gone"})
    after = look({1: 12.0, 2: 1.5, 3: 0.25}, {1: "jobs", 2: "PostgreSQL: jobs", 3: "PostgreSQL: jobs"})
    assert usage(before, after) == [PartUsage("jobs", 2.0, 1.0), PartUsage("PostgreSQL: jobs", 0.75, 0.375)]
