"""Reads collapsed stacks, a line each: frames from the outermost on, separated by `;`, and how often they were seen."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import innosystem.client
import innosystem.runner
import services

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(?::\d+)?\)$")
_LIBRARY = re.compile(r"^.*/(?:site|dist)-packages/")
_STANDARD = re.compile(r"^.*/lib/python\d\.\d+/(?:lib-dynload/)?")
# Where our own sources are, installed in place: the roots of the SDK, the runner and the platform, which may be around
# the other two.
_OWN = tuple(
    f"{Path(file).resolve().parents[depth]}/"
    for file, depth in ((innosystem.client.__file__, 2), (innosystem.runner.__file__, 2), (services.__file__, 1))
    if file
)
# What is called from these without a frame of its own is written in C: the event loop's own work, what it calls, and
# gRPC's thread.
_IN_C = {
    "Runner.run (asyncio/runners.py)": "uvloop, gRPC (in C)",
    "Thread.run (threading.py)": "threads (in C)",
}
# Packages whose first part says little.
_WIDE = frozenset({"google", "innosystem", "services", "tools"})


@dataclass
class Profile:
    """Where the samples of a process were.

    Attributes:
        samples: How many there are.
        components: For each package how many samples were in its own code.
        within: For each package how many samples were in its code or in what that called.
        functions: For each function how many samples were in its own code.
    """

    samples: int = 0
    components: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    def share(self, counted: int) -> float:
        """The part of all samples; 0 if there are none."""
        return counted / self.samples if self.samples else 0.0


def read(lines: Iterable[str]) -> Profile:
    """Counts the samples of collapsed stacks.

    Raises:
        ValueError: If a line is none.
    """
    profile = Profile()
    for line in lines:
        frames, _, count = line.rpartition(" ")
        if not count.strip().isdecimal():
            raise ValueError(f"this is no collapsed stack: {line!r}")
        # A process that is not stopped may change its stack while that is read: then nothing was found.
        if frames.strip():
            _count(profile, frames, int(count))
    return profile


def component(file: str) -> str:
    """The package that a file belongs to, such as `sqlalchemy`, `asyncio` or `services.jobs`."""
    parts = short(file).split("/")
    if parts[0] in _WIDE and len(parts) > 2:  # noqa: PLR2004 - two parts and a file
        return ".".join(parts[:2])
    return parts[0].removesuffix(".py")


def short(file: str) -> str:
    """A file's path as imports name it: below the root of our sources, of the libraries or of the standard library."""
    for pattern in (_LIBRARY, _STANDARD):
        if (found := pattern.sub("", file)) != file:
            return found
    return next((file.removeprefix(root) for root in _OWN if file.startswith(root)), file)


def _count(profile: Profile, frames: str, samples: int) -> None:
    found = [_place(frame) for frame in frames.split(";")]
    profile.samples += samples
    profile.components[_IN_C.get(found[-1]["function"], found[-1]["component"])] += samples
    profile.functions[found[-1]["function"]] += samples
    # Once a stack, however deep it is in one package.
    for name in {frame["component"] for frame in found} | {_IN_C.get(found[-1]["function"], found[-1]["component"])}:
        profile.within[name] += samples


def _place(frame: str) -> Mapping[str, str]:
    found = _FRAME.match(frame)
    if found is None:
        return {"component": frame, "function": frame}
    return {"component": component(found["file"]), "function": f"{found['function']} ({short(found['file'])})"}
