"""What processes use, as the bench reads it."""

import os
import subprocess
import sys
import time

import pytest

from tools.bench.platform.processes import Memory, children, cpu_seconds, memory_mb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

MEGABYTES = 50


def test_cpu_time_grows_while_a_process_works() -> None:
    before = cpu_seconds(os.getpid())
    limit = time.monotonic() + 30
    while cpu_seconds(os.getpid()) < before + 0.05:
        assert time.monotonic() < limit
    assert cpu_seconds(os.getpid()) <= time.process_time() + 1


def test_memory_and_children_of_a_process_are_seen_until_it_ends() -> None:
    source = f"x = b'x' * {MEGABYTES * 1_000_000}; print(len(x), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in children(os.getpid())
        assert memory_mb(child.pid) > MEGABYTES
        memory = Memory({"this": os.getpid(), "child": child.pid})
        memory.sample()
        memory.sample()
        largest = memory.largest()
        assert largest["child"] > MEGABYTES
        assert any(name.startswith("this/") for name in largest)
        assert memory.slopes(0).keys() == largest.keys()
        child.communicate(b"\n")
    with pytest.raises(FileNotFoundError):
        memory_mb(child.pid)
