"""Kill the process groups of handlers once their runner is gone. A script that imports the standard library only.

The runner writes lines: `+<group>`, `-<group>` and `end`. The runner is gone when it has closed its end of the pipe, or
is no longer the parent: a process forked by a handler may hold that end open.
"""

import os
import select
import signal
import sys
from contextlib import suppress

_POLL_SECONDS = 1.0


def main(descriptor: int, runner: int) -> None:
    """Watch until the runner is gone."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    rest = b""
    ending = False
    while not ending and os.getppid() == runner:
        if not select.select([descriptor], [], [], _POLL_SECONDS)[0]:
            continue
        read = os.read(descriptor, 4096)
        if not read:
            break
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            if line == b"end":
                ending = True
            elif line.startswith(b"+"):
                groups.add(int(line[1:]))
            else:
                groups.discard(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(0, int(sys.argv[1]))
