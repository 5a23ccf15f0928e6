"""Trees of revisions that tests write, in a folder of their own."""

from pathlib import Path

import pytest
from sqlalchemy import MetaData

from services.kit.migrations.locking import Limits
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


class Tree:
    """The revisions r1, r2, ... of a service that there is not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._number = 0
        monkeypatch.setattr(Migrations, "versions", property(lambda _: folder))

    def add(self, *body: str, head: str = "") -> None:
        """Adds a revision whose upgrade has these statements."""
        self._number += 1
        before = f"r{self._number - 1}" if self._number > 1 else None
        source = _REVISION.format(number=self._number, before=before, body="\n    ".join(body), head=head)
        (self._folder / f"r{self._number}.py").write_text(source)

    def on(self, url: str, limits: Limits | None = None) -> Migrations:
        """The migrations on a database."""
        return Migrations("things", url, MetaData(), limits or Limits())
