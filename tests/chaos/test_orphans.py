"""The processes of a runner end with it, however it ends."""

import json
import select
import socket
import subprocess
import sys

from innosystem.runner.handler_process import _BOOT
from innosystem.runner.handler_process_messages import LoadHandlers, framed
from innosystem.runner.logs import log_arguments

LIMIT_SECONDS = 30.0


def test_a_process_whose_runner_died_with_an_answer_unread_ends() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
    try:
        ours.sendall(framed(LoadHandlers([], [], *log_arguments())))
        assert select.select([ours], [], [], LIMIT_SECONDS)[0]

        # What is unread makes of the end of the socket a reset.
        ours.close()

        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        ours.close()
        process.kill()
        _, errors = process.communicate()
    assert errors == b""
