"""What handlers note down: each time one begins, returns or is stopped, in a file that all runners append to."""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PLACE = "CHAOS_NOTES"
"""The environment variable that names the file."""

BEGUN, RETURNED, RAISED, STOPPED = "begun", "returned", "raised", "stopped"
KILLS = "kills"
"""Noted by a handler that is about to kill its process."""


def note(what: str, job_id: str, attempt: int) -> None:
    """Append one line. One write of few bytes to a file opened for appending is never torn or mixed up."""
    line = json.dumps({"what": what, "job": job_id, "attempt": attempt, "pid": os.getpid(), "at": time.time()})
    file = os.open(os.environ[PLACE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


@dataclass(frozen=True)
class Notes:
    """The file, read.

    Attributes:
        counts: How often each thing was noted, by job.
        killed: The processes that a handler was about to kill.
        begun_at: When a job's handler was first called, by job; seconds since 1970.
    """

    counts: Mapping[str, Counter[str]] = field(default_factory=dict)
    killed: frozenset[int] = frozenset()
    begun_at: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Notes":
        """Read it; a file that is not there yet has no lines."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        killed: set[int] = set()
        begun_at: dict[str, float] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                counts[entry["job"]][entry["what"]] += 1
                if entry["what"] == KILLS:
                    killed.add(entry["pid"])
                elif entry["what"] == BEGUN:
                    begun_at.setdefault(entry["job"], entry["at"])
        return cls(dict(counts), frozenset(killed), begun_at)

    def executions(self, job_id: str) -> int:
        """How often a handler was called for a job."""
        return self.counts.get(job_id, Counter())[BEGUN]

    def returns(self, job_id: str) -> int:
        """How often a handler returned for a job."""
        return self.counts.get(job_id, Counter())[RETURNED]
