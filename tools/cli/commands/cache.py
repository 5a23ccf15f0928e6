"""`innosystem cache`."""

import urllib.request
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import App, Parameter

from tools.cli.options import Json
from tools.cli.output import NOTHING, print_json, print_table
from tools.errors import CommandError

app = App(name="cache", help="Show the statistics of a service's caches.")

_SECONDS_MAX = 10
_PREFIX = "innosystem_cache_"
_COLUMNS = (
    "cache",
    "hits",
    "misses",
    "hit_ratio",
    "loads",
    "load_failures",
    "mean_load_ms",
    "entries",
    "invalidations",
)


@app.command
def stats(
    *,
    metrics: Annotated[str, Parameter(name="--metrics", env_var="JOBS_METRICS_ADDRESS")] = "localhost:9464",
    as_json: Json = False,
) -> None:
    """Show the contents and the hit rates of the caches of one process.

    Args:
        metrics: The address of its metrics, JOBS_METRICS_LISTEN_ADDRESS.
    """
    caches = [_statistics(name, values) for name, values in sorted(_samples(_read(metrics)).items())]
    if as_json:
        print_json(caches)
    elif caches:
        print_table(
            [name.replace("_", " ") for name in _COLUMNS], [[_shown(one[name]) for name in _COLUMNS] for one in caches]
        )
    else:
        print("This process has no caches.")


def _shown(value: object) -> str:
    return NOTHING if value is None else str(value)


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
