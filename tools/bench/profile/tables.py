"""The tables of a profile, for people."""

from collections.abc import Sequence

from tools.bench.profile.profiling import Profiled
from tools.bench.profile.stacks import Profile

Table = tuple[Sequence[str], list[list[str]]]

_PARTS = ("CPU time", "seconds", "of it main thread", "us a job", "share")
_COUNTS = ("", "count", "a job", "jobs each")
_COMPONENTS = ("package", "its own code", "with what it calls")
_FUNCTIONS = ("function", "its own code")

# CPU time is counted in ticks of 0.01 s, so smaller values say nothing.
_SECONDS_MIN = 0.02
_COMPONENTS_MAX = 16
_FUNCTIONS_MAX = 10
_SHARE_MIN = 0.005


def tables(profiled: Profiled) -> list[Table]:
    """Return all tables of a measure, in reading order."""
    found: list[Table] = [(_PARTS, parts(profiled)), (_COUNTS, counts(profiled))]
    for name, profile in profiled.stacks.items():
        if profile.samples:
            title = f"{name}: {profile.samples:,} samples; {_COMPONENTS[0]}"
            found += [((title, *_COMPONENTS[1:]), components(profile)), (_FUNCTIONS, functions(profile))]
    return found


def headline(profiled: Profiled) -> str:
    """Return the workload and its rate, in one line."""
    workload = profiled.workload
    return (
        f"{workload.name.upper()}: {workload.jobs:,} jobs, {workload.batch} a call, callers: {workload.callers}. "
        f"{profiled.jobs_per_second:,.0f} jobs/s end to end under observation; "
        f"the machine was {_percent(profiled.busy)} busy"
    )


def parts(profiled: Profiled) -> list[list[str]]:
    """Return the CPU time by part, its sum, and the CPU time of all other processes."""
    total = sum(one.seconds for one in profiled.used)
    jobs = profiled.workload.jobs
    rows = [
        [
            one.name,
            *_seconds(one.seconds, one.main_seconds),
            _us(one.seconds, jobs),
            _percent(one.seconds / total if total else 0),
        ]
        for one in profiled.used
        if one.seconds >= _SECONDS_MIN
    ]
    main = sum(one.main_seconds for one in profiled.used)
    return [
        *rows,
        ["all of the stack", *_seconds(total, main), _us(total, jobs), _percent(1)],
        ["others, the sampling among them", f"{profiled.others_seconds:,.2f}", "", "", ""],
    ]


def counts(profiled: Profiled) -> list[list[str]]:
    """Return transactions and calls, in total and a job."""
    rows = [(f"transactions of {name}", count) for name, count in profiled.commits.items()]
    rows += [
        (f"{service}: {method}", count) for service, found in profiled.calls.items() for method, count in found.items()
    ]
    jobs = profiled.workload.jobs
    return [[name, f"{count:,}", f"{count / jobs:.3f}", f"{jobs / count:,.1f}"] for name, count in rows if count]


def components(profile: Profile) -> list[list[str]]:
    """Return packages by the samples in their own code, largest first."""
    return [
        [name, _percent(profile.share(samples)), _percent(profile.share(profile.within[name]))]
        for name, samples in profile.components.most_common(_COMPONENTS_MAX)
        if profile.share(samples) >= _SHARE_MIN
    ]


def functions(profile: Profile) -> list[list[str]]:
    """Return functions by the samples in their own code, largest first."""
    return [[name, _percent(profile.share(count))] for name, count in profile.functions.most_common(_FUNCTIONS_MAX)]


def _seconds(*values: float) -> list[str]:
    return [f"{value:,.2f}" for value in values]


def _us(seconds: float, jobs: int) -> str:
    return f"{seconds / jobs * 1e6:,.0f}"


def _percent(part: float) -> str:
    return f"{part:.1%}".replace("%", " %")
