"""What this machine is, and how much memory the process took of it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

from kramar.config import cores


def describe() -> dict[str, str | int]:
    """System, processor, usable cores, memory in bytes, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": memory,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory() -> int:
    """Most bytes that this process held, plus the most that one child held; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # On Linux that of a process begins with what its parent held when it started it: a notebook's, for example.
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return unit * (own + children)


def energy_joules() -> float | None:
    """What the processors have used since some moment, in joules; None where the system does not tell (most do not).

    Linux counts it in ``powercap`` for those who may read it; the counters wrap every few hours.
    """
    counters = list(Path("/sys/class/powercap").glob("intel-rapl:[0-9]/energy_uj"))
    try:
        return sum(int(counter.read_text(encoding="ascii")) for counter in counters) / 1e6 if counters else None
    except OSError:
        return None
