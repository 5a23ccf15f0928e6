"""Migrations that would lock out the traffic or the release before are refused by `make check` (D8)."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.migration.trees import TABLE, Tree


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "check_migrations", Path(__file__).parents[2] / "scripts/check_migrations.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFUSED = {
    "op.create_index('ix', 'things', ['name'])": "require-concurrent-index-creation",
    "op.drop_column('things', 'name')": "ban-drop-column",
    "op.alter_column('things', 'name', new_column_name='title')": "renaming-column",
    "op.alter_column('things', 'name', nullable=False)": "adding-not-nullable-field",
    "op.create_check_constraint('ck', 'things', 'id > 0')": "constraint-missing-not-valid",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_a_migration_that_breaks_a_rule_is_refused(
    statement: str, tree: Tree, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.add(TABLE)
    tree.add(statement)
    assert script.lint([tree.on("")]) == 1
    printed = capsys.readouterr().out
    assert REFUSED[statement] in printed
    assert "1 migrations linted, 1 refused" in printed


def test_migrations_that_keep_the_rules_pass(
    tree: Tree, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.add(TABLE)
    tree.add("op.execute('ALTER TABLE things ADD COLUMN color text')")
    tree.add("in_batches('things', change=\"color = 'red'\", where='color IS NULL')")
    tree.add(
        "with outside_transaction():",
        "    op.create_index('ix', 'things', ['name'], postgresql_concurrently=True)",
    )
    tree.add("op.drop_column('things', 'name')", head='lint_exclude = ("ban-drop-column",)')
    status = script.lint([tree.on("")])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "4 migrations linted, 0 refused" in printed
