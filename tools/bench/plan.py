"""The sizes of the bench: whole, or quick to check that everything works."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The sizes of the measures.

    Attributes:
        runs: How often each measure is repeated; figures are medians.
        warm_up: How many uncounted jobs or calls precede the first run.
        wallets: How many customers, each with a wallet.
        batch: How many jobs a call of P1 submits.
        batch_callers: How many concurrent callers P1 has.
        callers: How many concurrent callers P2 and P3 have.
        batch_jobs: The jobs of a run of P1.
        unary_jobs: The jobs of a run of P2, and of a peer.
        deducts: The calls of a run of P3.
        echoes: The calls of a run of P8.
        pickups: The jobs of P4, one after the other.
        offered_seconds: The length of a run of P5.
        short_queue: How many jobs wait in P6's short queue.
        long_queue: How many jobs wait in P6's long queue.
        finished: How many of them are finished for P6's rates.
        sql_jobs: The jobs of a run of the SQL reference.
    """

    runs: int = 3
    warm_up: int = 1000
    wallets: int = 1000
    batch: int = 200
    batch_callers: int = 4
    callers: int = 64
    batch_jobs: int = 10_000
    unary_jobs: int = 4000
    deducts: int = 6000
    echoes: int = 10_000
    pickups: int = 300
    offered_seconds: float = 15
    short_queue: int = 10_000
    long_queue: int = 1_000_000
    finished: int = 8000
    sql_jobs: int = 20_000

    def settings(self) -> dict[str, Any]:
        """Return all sizes, for the report."""
        return asdict(self)


WHOLE = Plan()

#: For a quick check that everything works. Its figures say little.
QUICK = Plan(
    runs=1,
    warm_up=64,
    wallets=20,
    batch_jobs=400,
    unary_jobs=200,
    deducts=300,
    echoes=600,
    pickups=10,
    offered_seconds=2,
    short_queue=400,
    long_queue=2000,
    finished=300,
    sql_jobs=1000,
)
