"""What this machine is, and how much memory the process took of it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from kramar.config import cores

# glibc's options (malloc.h): what is mapped by itself and when the top of the heap is given back. The second are what
# a process comes to by itself once it has freed a large block.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}
_GIVE_BACK = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10}


class _Keeping:
    """How many blocks keep memory now."""

    def __init__(self) -> None:
        self.lock, self.blocks = threading.Lock(), 0


_keeping = _Keeping()


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


class _Beside:
    """The most bytes that this process and a child of it held together."""

    def __init__(self) -> None:
        self.bytes = 0


_beside = _Beside()


def peak_memory() -> int:
    """Most bytes that this process held, with a child that `child_ended` was told of where that was there; 0 where the
    system does not say.

    Other children are not counted: Linux has those that were started and ended at once as large as who started them.
    """
    return max(_peaks()[0], _beside.bytes)


def child_ended() -> None:
    """A large child has just ended: whatever this process comes to hold later, it will not hold it beside that one."""
    _beside.bytes = max(_beside.bytes, sum(_peaks()))


def _peaks() -> tuple[int, int]:
    """The most bytes that this process has held so far, and the most that one child did."""
    if sys.platform == "win32":
        return 0, 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # On Linux that of a process begins with what its parent held when it started it: a notebook's, for example.
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return unit * own, unit * child


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """In the block, keep what is freed for what is asked for next, instead of giving it back to the system.

    Each step of a training asks for the same large blocks. glibc has each of them mapped anew, and the system clears it
    page by page. Without that, EfficientNet-Lite0 (192 pixels, two cores) takes its steps 1.57 times as fast as a loop
    that is otherwise as fast (``benchmarks/training_speed.py``). Where there is no glibc, nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    with _keeping.lock:
        _keeping.blocks += 1
        if _keeping.blocks == 1:
            for option, value in _KEEP.items():
                libc.mallopt(option, value)
    try:
        yield
    finally:
        with _keeping.lock:
            _keeping.blocks -= 1
            if not _keeping.blocks:
                for option, value in _GIVE_BACK.items():
                    libc.mallopt(option, value)
                libc.malloc_trim(0)


def give_back() -> None:
    """Give freed memory back to the system, also where `kept_memory` keeps it: other work asks for other blocks."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)


def energy_joules() -> float | None:
    """What the processors have used since some moment, in joules; None where the system does not tell (most do not).

    Linux counts it in ``powercap`` for those who may read it; the counters wrap every few hours.
    """
    counters = list(Path("/sys/class/powercap").glob("intel-rapl:[0-9]/energy_uj"))
    try:
        return sum(int(counter.read_text(encoding="ascii")) for counter in counters) / 1e6 if counters else None
    except OSError:
        return None
