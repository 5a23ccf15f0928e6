"""Read collapsed stacks, a line each: frames from the outermost on, separated by `;`, and the number of samples."""

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
# The roots of the platform's own sources, installed in place: the SDK, the runner and the platform, whose root may
# contain the other two.
_OWN = tuple(
    f"{Path(file).resolve().parents[depth]}/"
    for file, depth in ((innosystem.client.__file__, 2), (innosystem.runner.__file__, 2), (services.__file__, 1))
    if file
)
# Below these functions, a sample without a further frame is in C: the event loop, its callees, and gRPC's thread.
_IN_C = {
    "Runner.run (asyncio/runners.py)": "uvloop, gRPC (in C)",
    "Thread.run (threading.py)": "threads (in C)",
}
# Packages whose first part says little.
_WIDE = frozenset({"google", "innosystem", "services", "tools"})


@dataclass
class Profile:
    """The samples of a process.

    Attributes:
        samples: Their number.
        components: For each package, the samples in its own code.
        within: For each package, the samples in its code or in its callees.
        functions: For each function, the samples in its own code.
    """

    samples: int = 0
    components: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    def share(self, counted: int) -> float:
        """Return a share of all samples; 0 if there are none."""
        return counted / self.samples if self.samples else 0.0


def read(lines: Iterable[str]) -> Profile:
    """Count the samples of collapsed stacks.

    Raises:
        ValueError: A line is no collapsed stack.
    """
    profile = Profile()
    for line in lines:
        frames, _, count = line.rpartition(" ")
        if not count.strip().isdecimal():
            raise ValueError(f"not a collapsed stack: {line!r}")
        # A running process may change its stack while py-spy reads it: such a sample is empty.
        if frames.strip():
            _count(profile, frames, int(count))
    return profile


def component(file: str) -> str:
    """Return the package that a file belongs to, such as `sqlalchemy`, `asyncio` or `services.jobs`."""
    parts = short(file).split("/")
    if parts[0] in _WIDE and len(parts) > 2:  # noqa: PLR2004 - two parts and a file
        return ".".join(parts[:2])
    return parts[0].removesuffix(".py")


def short(file: str) -> str:
    """Return a file's path below the root of our sources, of the libraries or of the standard library."""
    for pattern in (_LIBRARY, _STANDARD):
        if (found := pattern.sub("", file)) != file:
            return found
    return next((file.removeprefix(root) for root in _OWN if file.startswith(root)), file)


def _count(profile: Profile, frames: str, samples: int) -> None:
    found = [_place(frame) for frame in frames.split(";")]
    profile.samples += samples
    profile.components[_IN_C.get(found[-1]["function"], found[-1]["component"])] += samples
    profile.functions[found[-1]["function"]] += samples
    # A stack counts once for each package, however many of its frames are in it.
    for name in {frame["component"] for frame in found} | {_IN_C.get(found[-1]["function"], found[-1]["component"])}:
        profile.within[name] += samples


def _place(frame: str) -> Mapping[str, str]:
    found = _FRAME.match(frame)
    if found is None:
        return {"component": frame, "function": frame}
    return {"component": component(found["file"]), "function": f"{found['function']} ({short(found['file'])})"}
