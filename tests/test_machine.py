"""What the machine tells of itself."""

import mmap
import platform
import subprocess
import sys

import pytest

from kramar import machine

PEAK = "from kramar.machine import peak_memory; print(peak_memory())"


def peak_after(first: str) -> int:
    """In bytes, of a process that is started by one that ran ``first``."""
    code = f"{first}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {PEAK!r}], check=True)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_peak_memory_is_the_process_s_own_and_not_its_parent_s() -> None:
    assert peak_after("held = bytearray(300_000_000)") < 150_000_000
    own = subprocess.run(
        [sys.executable, "-c", f"held = bytearray(300_000_000); {PEAK}"], capture_output=True, text=True, check=True
    )
    assert 300_000_000 < int(own.stdout) < 450_000_000


# What a parent holds after its child of 300 MB has ended does not add to it; nor does a child that nobody tells of.
AFTER_A_CHILD = """
import subprocess, sys
from kramar import machine
subprocess.run([sys.executable, "-c", "held = bytearray(300_000_000)"], check=True)
if sys.argv[1] == "told":
    machine.child_ended()
held = bytearray(200_000_000)
subprocess.run([sys.executable, "-c", ""], check=True)
print(machine.peak_memory())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
@pytest.mark.parametrize(("told", "least", "most"), [("told", 310e6, 400e6), ("untold", 200e6, 300e6)])
def test_a_child_counts_beside_what_was_held_while_it_was_there(told: str, least: float, most: float) -> None:
    done = subprocess.run([sys.executable, "-c", AFTER_A_CHILD, told], capture_output=True, text=True, check=True)
    assert least < int(done.stdout) < most


def test_the_machine_says_what_it_is() -> None:
    said = machine.describe()
    assert said["cores"] >= 1
    assert said["system"]


# Takes and gives back the same large block; how often the system had to find a page for it.
FAULTS = """
import ctypes, resource, sys
from kramar.machine import kept_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def faults(size=64 << 20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(faults(), faults())
with kept_memory():
    with kept_memory():
        faults()
    print(faults(), faults())
    print(held())
print(held())
print(faults(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_memory_is_kept_for_the_next_step_and_given_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, during, (within,), (afterwards,), after = (
        [int(n) for n in line.split()] for line in done.stdout.split("\n")[:-1]
    )
    pages = (64 << 20) // mmap.PAGESIZE
    assert min(before) > pages / 2
    assert max(during) < pages / 10
    assert within - afterwards > 60e6, "freed, and given back when the outer block ends"
    assert min(after) > pages / 2
