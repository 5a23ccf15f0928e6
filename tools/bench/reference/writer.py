"""Writes lives of jobs as bare SQL: `python -m tools.bench.reference.writer`, one connection to each database."""

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
from tools.bench.reference import statements as reference_statements
from tools.errors import CommandError

BATCH = 100
#: The tables grow faster than they are analysed, and a plan made for a small one reads all of it. These leave only the
#: way over the indexes, which is the best one at any size.
PLANS = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"

_OUTPUT = json.dumps({"ok": True})
_FIXED = {"input": INPUT, "output": _OUTPUT, "request_id": str(new_id()), "digest": bytes(80)}


@dataclass
class Writer:
    """Writes batches; each statement is a transaction, as each of them is another service's or another call's.

    Args:
        jobs: To a database with the tables of the jobs service, in autocommit.
        wallets: The same for wallets.
        wallet_ids: The wallets that are charged in turns. More than a batch, so that none is in one batch twice, and
            no other writer's, so that none waits for another.
        job_type: The job type's ID.
    """

    jobs: psycopg.Connection
    wallets: psycopg.Connection
    wallet_ids: Sequence[str]
    job_type: UUID
    _runner: UUID = field(default_factory=new_id)

    def write(self, count: int) -> None:
        """Writes so many whole lives."""
        for batch in self._batches(count):
            self._write(self.wallets, reference_statements.HOLD, batch)
            self._write(self.jobs, reference_statements.SUBMIT, batch)
            self._write(self.jobs, reference_statements.CLAIM, batch)
            self._write(self.jobs, reference_statements.COMPLETE, batch)
            self._write(self.wallets, reference_statements.CHARGE, batch)
            self._write(self.jobs, reference_statements.SETTLE, batch)

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
    # As text, made once for all statements of a batch: next to nothing of this is Python's time.
    return "{" + ",".join(ids) + "}"


def main() -> None:
    """Connects, writes a few batches to warm up, says so, writes."""
    told = listener.task()
    with (
        psycopg.connect(told["jobs_url"], autocommit=True, options=PLANS) as jobs,
        psycopg.connect(told["wallets_url"], autocommit=True, options=PLANS) as wallets,
    ):
        writer = Writer(jobs, wallets, told["wallets"], UUID(told["job_type"]))
        writer.write(told["warm_up"])
        listener.ready()
        began = time.monotonic()
        writer.write(told["jobs"])
        listener.answer({"began": began, "ended": time.monotonic()})


if __name__ == "__main__":
    main()
