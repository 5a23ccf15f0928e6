"""Lint the SQL of the migrations with squawk, which finds locks and changes that break the last release.

Needs no database. The first revision of a service is skipped, because its tables are new and empty. A revision that
has a reason to break a rule names the rule: `lint_exclude = ("ban-drop-column",)`.
"""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from services import SERVICES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.kit.migrations.tree import Migrations  # noqa: E402 - the path has to be set first

SQUAWK = Path(sys.executable).parent / "squawk"
_PG_VERSION = "15"

# These rules judge the design of tables, which reviews and the models decide, and not what a migration locks or
# breaks; Alembic's own UPDATE and the transaction around each revision make `prefer-robust-stmts` needless.
_EXCLUDED = ("prefer-robust-stmts", "prefer-bigint-over-int", "prefer-text-field", "prefer-identity")


def main() -> int:
    """Lint the migrations of all services and return the exit status."""
    every = [
        Migrations(service, "", importlib.import_module(f"services.{service}.store.tables").metadata)
        for service in SERVICES
    ]
    return lint(every)


def lint(every: Sequence[Migrations]) -> int:
    """Lint all revisions but the first of each service and return the exit status."""
    passed: list[bool] = []
    with tempfile.TemporaryDirectory(prefix="innosystem-migrations-") as folder:
        for migrations in every:
            for before, revision in pairwise(revision for revision, _ in migrations.history()):
                file = Path(folder) / f"{migrations.service}-{revision}.sql"
                file.write_text(migrations.sql_between(before, revision), encoding="utf-8")
                passed.append(_squawk(file, migrations.linted_without(revision)))
    print(
        f"squawk: {len(passed)} migrations linted, {passed.count(False)} refused; "
        "the first of each service creates empty tables and is skipped"
    )
    return 0 if all(passed) else 1


def _squawk(file: Path, excluded: tuple[str, ...]) -> bool:
    exclude = ",".join((*_EXCLUDED, *excluded))
    command = [str(SQUAWK), f"--exclude={exclude}", f"--pg-version={_PG_VERSION}", str(file)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
