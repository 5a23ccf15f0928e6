"""Reset the signal handlers in processes that handlers fork.

A forked child inherits the parent's signal handlers, and the parent's end of the socket through which an event loop
receives signals: a SIGTERM to a `multiprocessing.Process` would stop the runner instead of the child.
"""

import os
import signal
import threading
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_masks: Final = threading.local()
_registered = False


def reset_signals_in_forks() -> None:
    """Give every process that is forked from now on the signal handlers of a new process."""
    global _registered  # noqa: PLW0603 - hooks of forks cannot be unregistered
    if not _registered:
        _registered = True
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_reset)


def _block() -> None:
    # A signal that arrives between the fork and `_reset` is delivered after `_reset`.
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _reset() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _unblock()
