"""Stack traces of running handlers, for the log."""

import asyncio
import sys
import traceback
from types import CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from innosystem.runner import calling

_FRAMES_MAX: Final = 20
_CALLS_HANDLERS: Final = calling.__file__


def task_stack(task: "asyncio.Task[Any]") -> str:
    """Return where a coroutine waits, from the outermost `await` to the innermost."""
    frames = traceback.StackSummary()
    inner: object = task.get_coro()
    while inner is not None and len(frames) < _FRAMES_MAX:
        frame, inner = _step(inner)
        if frame is not None:
            frames += traceback.extract_stack(frame, limit=1)
    return "".join(frames.format())


def _step(awaited: object) -> tuple[FrameType | None, object]:
    """Return the frame of an awaited object, and the object that it awaits in turn."""
    if isinstance(awaited, CoroutineType):
        return awaited.cr_frame, awaited.cr_await
    if isinstance(awaited, GeneratorType):
        return awaited.gi_frame, awaited.gi_yieldfrom
    return None, None


def thread_stack(ident: int | None) -> str:
    """Return the current stack of a thread; that of a handler begins with its first frame."""
    frame = sys._current_frames().get(ident or 0)
    frames = [] if frame is None else list(traceback.extract_stack(frame, limit=_FRAMES_MAX))
    calls = [place for place, each in enumerate(frames[:-1]) if each.filename == _CALLS_HANDLERS]
    return "".join(traceback.format_list(frames[calls[-1] + 1 :] if calls else frames))
