"""The number of CPUs that this process may use."""

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def available_cpus(root: Path = _ROOT) -> int:
    """Return how many CPUs this process may use, at least 1.

    A container sees all CPUs of its node; a CPU set or a time quota limits which of them it may use.

    Args:
        root: The root of the control groups.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """Return the container's quota in CPUs; None without a quota."""
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
        # `max`: no quota.
        return None
