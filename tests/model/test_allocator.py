from __future__ import annotations

import subprocess
import sys

import pytest

from model.tuner.allocator import keep_freed_memory

FAULTS = """
import mmap, resource, sys
from model.tuner.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def use():
    block = bytearray(64 * 1024**2)
    block[:: mmap.PAGESIZE] = b"1" * len(block[:: mmap.PAGESIZE])
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, what], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    assert faults("keep") < faults("give back") / 10


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
