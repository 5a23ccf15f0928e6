"""`innosystem cache`."""

import urllib.request
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from tools.cli.output import NOTHING, TABLE, Column, Columns, Output, print_list
from tools.errors import CommandError
from tools.local.target import announced

app = App(name="cache", help="Show the statistics of a service's caches.")

_SECONDS_MAX = 10
_DEFAULT_METRICS = "localhost:9464"
_PREFIX = "innosystem_cache_"
_COLUMNS = (
    ("cache", 0),
    ("hits", 1),
    ("misses", 1),
    ("hit_ratio", 2),
    ("loads", 4),
    ("load_failures", 3),
    ("mean_load_ms", 4),
    ("entries", 2),
    ("evictions", 5),
    ("invalidations", 5),
)


@app.command
def stats(
    *,
    metrics: Annotated[str | None, Parameter(name="--metrics")] = None,
    output: Output = TABLE,
) -> None:
    """Show the contents and the hit rates of the caches of one process.

    Args:
        metrics: The address of its metrics; by default JOBS_METRICS_ADDRESS of the platform, or localhost:9464.
    """
    address = metrics or announced().settings.get("JOBS_METRICS_ADDRESS", _DEFAULT_METRICS)
    caches = [_statistics(name, values) for name, values in sorted(_samples(_read(address)).items())]
    print_list(caches, _columns(), output, nothing="This process has no caches.")


def _columns() -> Columns:
    def shown(name: str) -> Callable[[dict[str, Any], datetime | None], str]:
        return lambda cache, now: NOTHING if cache[name] is None else str(cache[name])

    return Columns(
        tuple(
            Column(name.replace("_", " "), shown(name), priority=priority, right=name != "cache")
            for name, priority in _COLUMNS
        ),
        name="cache",
    )


def _read(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SECONDS_MAX) as response:
            text: str = response.read().decode()
    except (OSError, ValueError) as error:
        raise CommandError(
            f"can't read metrics at {address}: {error}. Start the jobs service with JOBS_METRICS_LISTEN_ADDRESS, and "
            "name that address with --metrics"
        ) from error
    return text


def _samples(text: str) -> dict[str, dict[str, float]]:
    """Return the samples of each cache by name; the name includes the result of a request."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, dict[str, float]] = {}
    for family in _of_caches(text_string_to_metric_families(text)):
        for sample in family.samples:
            name = sample.name.removeprefix(_PREFIX) + sample.labels.get("result", "")
            found.setdefault(sample.labels["cache"], {})[name] = sample.value
    return found


def _of_caches(families: Iterable[Any]) -> Iterable[Any]:
    return (family for family in families if family.name.startswith(_PREFIX))


def _statistics(cache: str, values: dict[str, float]) -> dict[str, Any]:
    hits, misses = int(values["requests_totalhit"]), int(values["requests_totalmiss"])
    loads = int(values["load_seconds_count"])
    return {
        "cache": cache,
        "hits": hits,
        "misses": misses,
        "hit_ratio": round(hits / (hits + misses), 4) if hits + misses else None,
        "loads": loads,
        "load_failures": int(values["load_failures_total"]),
        "mean_load_ms": round(values["load_seconds_sum"] / loads * 1000, 3) if loads else None,
        "entries": int(values["entries"]),
        "entries_max": int(values["entries_max"]),
        "evictions": int(values["evictions_total"]),
        "invalidations": int(values["invalidations_total"]),
    }
