"""The threads of the native kernels, by a program of their own: a lost or doubled unit is an engine that hangs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from model.native.build import SOURCES
from model.native.kinds import compiler

PROGRAM = Path(__file__).parent / "native" / "team.cpp"
PHASES = {1: 1_000_000, 2: 1_000_000, 3: 200_000}
"""By number of threads. Three wait for two processors in each phase, and for other tests beside them."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (command := compiler()) is None:
        pytest.skip("no C++ compiler")
    target = tmp_path_factory.mktemp("team") / "team"
    subprocess.run(
        [command, "-std=c++20", "-O2", "-pthread", f"-I{SOURCES}", str(PROGRAM), "-o", str(target)], check=True
    )
    return target


@pytest.mark.parametrize("threads", PHASES)
def test_every_unit_of_every_phase_runs_once(program: Path, threads: int) -> None:
    done = subprocess.run(
        [program, str(PHASES[threads]), str(threads)], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
