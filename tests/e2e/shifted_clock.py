"""Runs a module as `python -m` does, in a process that takes its machine's clock to be somewhere else.

python -m tests.e2e.shifted_clock SECONDS MODULE
"""

import datetime
import runpy
import sys
import time
from typing import Any

_seconds = float(sys.argv[1])


class _Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(time.time() + _seconds, tz)


if __name__ == "__main__":
    datetime.datetime = _Shifted  # type: ignore[misc] # that is what it is for
    module, sys.argv = sys.argv[2], sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
