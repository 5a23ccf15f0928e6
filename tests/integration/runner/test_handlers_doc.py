"""The example in docs/handlers.md is run as its reader would run it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.documents import Document


def test_the_handlers_of_the_guide_pass_their_own_tests(tmp_path: Path) -> None:
    blocks = [block.body for block in Document.read("docs/handlers.md").blocks if block.language == "python"]
    files = {named[1]: body for body in blocks if (named := re.match(r"# (\w+\.py)\n", body))}
    assert files.keys() == {"my_handlers.py", "test_my_handlers.py"}
    for name, body in files.items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    run = subprocess.run([*command, "test_my_handlers.py"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert "4 passed" in run.stdout, run.stdout + run.stderr
