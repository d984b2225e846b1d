"""Is the machine quiet? OpenMP barriers spin, so one busy neighbour makes a timing meaningless."""

from __future__ import annotations

import os
import time

import psutil

LIMIT = 0.1
"""Share of all cores that other processes may use while the machine still counts as quiet."""


def busy_seconds() -> float:
    """CPU seconds that all processes together have used since the machine started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def own_seconds() -> float:
    """CPU seconds of this process, all of its threads."""
    return time.process_time()


def family_seconds() -> float:
    """CPU seconds of this process and of the processes that it started and that still run."""
    helpers = [p.cpu_times() for p in psutil.Process().children(recursive=True)]
    return own_seconds() + float(sum(t.user + t.system for t in helpers))


def cores() -> int:
    """Cores of the machine, used by this process or not: what `busy_seconds` counts."""
    return os.cpu_count() or 1


def others(seconds: float = 0.5) -> float:
    """Share of all cores that other processes use, watched for so many seconds: 0 is quiet, 1 is full."""
    start, busy, own = time.perf_counter(), busy_seconds(), own_seconds()
    time.sleep(seconds)
    spent = busy_seconds() - busy - (own_seconds() - own)
    return max(0.0, spent) / (time.perf_counter() - start) / cores()


def wait_until_quiet(limit: float = LIMIT, patience: float = 10.0) -> float:
    """Wait until other processes use less than a share of the cores.

    Args:
        limit: the share.
        patience: seconds after which waiting ends all the same.

    Returns:
        The share that was seen last; above `limit` the machine is not quiet.
    """
    end = time.perf_counter() + patience
    share = others()
    while share > limit and time.perf_counter() < end:
        share = others()
    return share
