"""The example in docs/handlers.md is run as its reader would run it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import Document

# How many tests each module of the guide has.
TESTS = {"my_handlers": 6, "my_orders": 2, "my_embeddings": 2, "my_imports": 1, "my_pages": 1}


@pytest.mark.parametrize(("module", "tests"), TESTS.items())
def test_the_handlers_of_the_guide_pass_their_own_tests(tmp_path: Path, module: str, tests: int) -> None:
    blocks = [block.body for block in Document.read("docs/handlers.md").blocks if block.language == "python"]
    files = {named[1]: body for body in blocks if (named := re.match(r"# (\w+\.py)\n", body))}
    # The receiver of webhooks needs a platform: tests/e2e/test_webhooks.py runs it.
    assert files.keys() == {f"{prefix}{each}.py" for each in TESTS for prefix in ("", "test_")} | {"my_receiver.py"}
    for name in (f"{module}.py", f"test_{module}.py"):
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    run = subprocess.run([*command, f"test_{module}.py"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert f"{tests} passed" in run.stdout, run.stdout + run.stderr
