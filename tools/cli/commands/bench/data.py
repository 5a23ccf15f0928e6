"""`innosystem bench data`: the cost of the data layer.

Many concurrent callers measure pools of several sizes; then one caller measures each operation of the repositories, on
PostgreSQL and in memory. The event loop is that of the services.
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, validators

from tools.cli.commands.bench.options import FiguresFile
from tools.cli.money import WHOLE
from tools.cli.output import logs_on_stderr, print_table
from tools.local.stopping import until_stopped

Seconds: TypeAlias = Annotated[float, Parameter(validator=validators.Number(gt=0))]
Runs: TypeAlias = Annotated[int, WHOLE, Parameter(validator=validators.Number(gte=1))]


def data(
    *,
    seconds: Seconds = 0.3,
    runs: Runs = 3,
    json: FiguresFile = None,
) -> None:
    """Measure operations of repositories, on PostgreSQL and in memory, and sizes of connection pools.

    The databases are temporary: on the servers that CUSTOMERS_DATABASE_URL and so on name, else on an embedded server.

    Args:
        seconds: The length of a run of one measurement.
        runs: How often each measurement is repeated; the rates are medians.
    """
    import uvloop

    with logs_on_stderr():
        figures = uvloop.run(until_stopped(_measure(seconds, runs)))
    _print(figures)
    if json is not None:
        _write(json, figures)


async def _measure(seconds: float, runs: int) -> dict[str, Any]:
    from tools.bench.data.compare import compare
    from tools.bench.data.pools import measure_pools
    from tools.bench.platform.databases import server_version, service_databases

    async with service_databases() as urls:
        return {
            "machine": {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "postgresql": server_version(urls["jobs"]),
            },
            "seconds": seconds,
            "runs": runs,
            "pools": await measure_pools(urls["jobs"], seconds, runs),
            "operations": await compare(urls, seconds, runs),
        }


def _print(figures: Mapping[str, Any]) -> None:
    columns = ("calls/s", "p50 ms", "p99 ms")
    print_table(
        ["operation", "rows", *(f"{kind} {column}" for kind in ("SQL", "memory") for column in columns)],
        [
            [one["operation"], str(one["rows"]), *_timings(one["sql"]), *_timings(one["memory"])]
            for one in figures["operations"]
        ],
    )
    print()
    print_table(
        [
            "connections",
            "operations/s",
            "read p50 ms",
            "read p99 ms",
            "write p50 ms",
            "write p99 ms",
            "CPU of this process",
        ],
        [_pool(one) for one in figures["pools"]],
    )


def _timings(figures: Mapping[str, float]) -> list[str]:
    return [f"{figures['calls_per_second']:,.0f}", f"{figures['p50_ms']:.2f}", f"{figures['p99_ms']:.2f}"]


def _pool(figures: Mapping[str, float]) -> list[str]:
    return [
        f"{figures['connections']}",
        f"{figures['operations_per_second']:,.0f}",
        *(f"{figures[name]:.1f}" for name in ("read_p50_ms", "read_p99_ms", "write_p50_ms", "write_p99_ms")),
        f"{figures['cpu_percent']:.0f} %",
    ]


def _write(file: Path, figures: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
