"""Tells how many CPUs this process may use."""

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def available_cpus(root: Path = _ROOT) -> int:
    """Tell how many CPUs there are for this process, at least 1.

    A container sees all CPUs of its node; what it may use is limited by a set of CPUs or by a quota of time.

    Args:
        root: Where the control groups are.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """Tell the CPUs' worth of time that the container gets; None if that is not limited."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        # `max`: without a limit.
        return None
