"""Fixtures for the tests of migrations."""

from pathlib import Path

import pytest

from tests.migration.trees import Tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree of revisions that the test writes."""
    return Tree(tmp_path, monkeypatch)
