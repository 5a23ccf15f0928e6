"""Write lives of jobs as bare SQL: `python -m tools.bench.reference.writer`, one connection to each database."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from innosystem.client import new_id
from tools.bench.load import listener
from tools.bench.load.generator import INPUT
from tools.bench.reference import statements
from tools.errors import CommandError

BATCH = 100
#: The tables grow faster than they are analysed, and a plan for a small table reads all of it. These options leave only
#: plans over the indexes, which are the best at any size.
PLANS = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"

_OUTPUT = json.dumps({"ok": True})
_FIXED = {"input": INPUT, "output": _OUTPUT, "request_id": str(new_id()), "digest": bytes(80)}


@dataclass
class Writer:
    """A writer of batches. Each statement is a transaction, because each belongs to a different service or call.

    Args:
        jobs: A connection to a database with the tables of the jobs service, in autocommit.
        wallets: The same for wallets.
        wallet_ids: The wallets to charge in turns. More than a batch, so that no batch contains a wallet twice, and
            different from those of other writers, so that no writer waits for another.
        job_type: The job type's ID.
    """

    jobs: psycopg.Connection
    wallets: psycopg.Connection
    wallet_ids: Sequence[str]
    job_type: UUID
    _runner: UUID = field(default_factory=new_id)

    def write(self, count: int) -> None:
        """Write so many whole lives."""
        for batch in self._batches(count):
            self._write(self.wallets, statements.HOLD, batch)
            self._write(self.jobs, statements.SUBMIT, batch)
            self._write(self.jobs, statements.CLAIM, batch)
            self._write(self.jobs, statements.COMPLETE, batch)
            self._write(self.wallets, statements.CHARGE, batch)
            self._write(self.jobs, statements.SETTLE, batch)

    def _write(self, connection: psycopg.Connection, statement: str, batch: dict[str, Any]) -> None:
        written = connection.execute(statement, batch).rowcount
        if written != BATCH:
            raise CommandError(f"{written} rows were written instead of {BATCH}")

    def _batches(self, count: int) -> Iterator[dict[str, Any]]:
        for start in range(0, count, BATCH):
            wallets = [self.wallet_ids[(start + number) % len(self.wallet_ids)] for number in range(BATCH)]
            yield {
                **_FIXED,
                "job_type": self.job_type,
                "runner": self._runner,
                "lease": new_id(),
                "wallets": _array(wallets),
                **{name: _array([str(new_id()) for _ in range(BATCH)]) for name in ("jobs", "holds", "transactions")},
            }


def _array(ids: Sequence[str]) -> str:
    # As text, built once for all statements of a batch, so that Python's share of the time is negligible.
    return "{" + ",".join(ids) + "}"


def main() -> None:
    """Connect, write a few batches to warm up, and write the rest on signal."""
    task = listener.read_task()
    with (
        psycopg.connect(task["jobs_url"], autocommit=True, options=PLANS) as jobs,
        psycopg.connect(task["wallets_url"], autocommit=True, options=PLANS) as wallets,
    ):
        writer = Writer(jobs, wallets, task["wallets"], UUID(task["job_type"]))
        writer.write(task["warm_up"])
        listener.wait_for_go()
        began = time.monotonic()
        writer.write(task["jobs"])
        listener.send({"began": began, "ended": time.monotonic()})


if __name__ == "__main__":
    main()
