"""Run a module as `python -m` does, and end it by SIGTERM when the process that started it dies.

    python -m tools.local.die_with_parent PARENT_PID MODULE [ARGUMENTS...]

So a stack ends even if its parent is killed by SIGKILL. Linux sends the signal on request; on other systems the module
runs without it.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Request the signal, and become the module."""
    parent, module, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit("the process that started this one is gone")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
