"""Trees of revisions that tests write, in a folder of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import MetaData

from services.kit.migrations.locking import TURNS, Limits
from services.kit.migrations.tree import Migrations

TABLE = "op.execute('CREATE TABLE things (id int PRIMARY KEY, name text)')"
FILL = "op.execute('INSERT INTO things SELECT n FROM generate_series(1, 2500) n')"

_REVISION = '''"""Revision {number}."""

from alembic import op

from services.kit.migrations.steps import in_batches, outside_transaction

revision = "r{number}"
down_revision = {before!r}
{head}

def upgrade() -> None:
    {body}


def downgrade() -> None:
    pass
'''

_PROCESS = """
from pathlib import Path
from sqlalchemy import MetaData
from services.kit.migrations.locking import Limits
from services.kit.migrations.tree import Migrations

Migrations.versions = property(lambda _: Path({folder!r}))
Migrations("things", {url!r}, MetaData(), Limits(**{limits!r}), pooled=True).up()
"""
# A revision stops here the process that Tree.frozen has started, and no other.
FREEZE = "import os, signal; 'MORTAL' in os.environ and os.kill(os.getpid(), signal.SIGSTOP)"


def expire_turn(url: str) -> None:
    """Create the turn of who migrates through a pooler one without a sign of life for too long."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"UPDATE {TURNS} SET expires_at = clock_timestamp()".encode())


class Tree:
    """The revisions r1, r2, ... of a service that there is not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._number = 0
        monkeypatch.setattr(Migrations, "versions", property(lambda _: folder))

    def add(self, *body: str, head: str = "") -> None:
        """Add a revision whose upgrade has these statements."""
        self._number += 1
        before = f"r{self._number - 1}" if self._number > 1 else None
        source = _REVISION.format(number=self._number, before=before, body="\n    ".join(body), head=head)
        (self._folder / f"r{self._number}.py").write_text(source)

    def on(self, url: str, limits: Limits | None = None, *, pooled: bool = False) -> Migrations:
        """The migrations on a database."""
        return Migrations("things", url, MetaData(), limits or Limits(), pooled=pooled)

    @contextmanager
    def frozen(self, url: str, **limits: float) -> Iterator["subprocess.Popen[str]"]:
        """Migrates as through a pooler, in a process of its own that FREEZE in a revision has stopped."""
        with subprocess.Popen(
            [sys.executable, "-c", _PROCESS.format(folder=str(self._folder), url=url, limits=limits)],
            env={**os.environ, "MORTAL": "yes", "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        ) as started:
            try:
                _, status = os.waitpid(started.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
                yield started
            finally:
                started.kill()
