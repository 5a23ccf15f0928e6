"""Runs a module as `python -m` does, and ends it by SIGTERM when the process that started it dies.

    python -m tools.local.die_with_parent PARENT_PID MODULE [ARGUMENTS...]

So that a stack whose parent was killed by SIGKILL does not live on. Linux tells a process of its parent's death if it
asks for that; elsewhere the module just runs.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Asks for the signal, and becomes the module."""
    parent, module, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit("the process that started this one is gone")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
