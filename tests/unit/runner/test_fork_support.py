"""The settings of gRPC that the runner makes before the import of gRPC."""

import os
import subprocess
import sys

# Prints what gRPC finds in the environment when it is imported.
PROGRAM = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_ENABLE_FORK_SUPPORT"))
sys.meta_path.insert(0, Finder())
import innosystem.runner.__main__
"""


def test_grpc_does_not_start_its_threads_in_processes_that_are_forked() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[:1] == ["0"]
