"""Measures all subjects with the same runs, alternating between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from bench.agent.subjects import SUBJECTS, US
from bench.engine.contest import Measure, Told, alternate
from bench.peers.environment import PeerError
from bench.peers.peer import Peer
from bench.peers.protocol import Answer


@dataclass(frozen=True)
class Case:
    """Runs with this number of steps and of parallel calls per step."""

    steps: int
    calls: int

    def __str__(self) -> str:
        return f"{self.steps} steps of {self.calls}"


@dataclass(frozen=True)
class Sample:
    """Cost of a step: CPU and wall-clock time in microseconds, and bytes written to the database."""

    cpu: float
    wall: float
    bytes: float

    @classmethod
    def of(cls, answer: Answer) -> Sample:
        steps = float(answer["steps"])
        return cls(1e6 * answer["cpu_seconds"] / steps, 1e6 * answer["seconds"] / steps, answer["bytes"] / steps)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case: samples of the rounds by subject, and reasons for subjects without samples (``lost``)."""

    samples: Mapping[str, Sequence[Sample]]
    lost: Mapping[str, str] = field(default_factory=dict)


class Field:
    """The measured programs, each started on first use. Use as a context manager.

    Args:
        folder: folder for databases, on the disk to measure.
        programs: participating programs, without ours.
        stand_in: a program that replaces all of them, for tests.
        told: called with the current activity.

    Attributes:
        versions: versions of the started programs.
    """

    def __init__(
        self, folder: Path, programs: Collection[str], stand_in: str | None = None, told: Told = lambda what: None
    ) -> None:
        self._folder = folder
        self._programs = {US, *programs}
        self._stand_in = stand_in
        self._told = told
        self._stack = ExitStack()
        self._running: dict[str, Peer] = {}
        self._absent: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def __enter__(self) -> Field:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def take(self, case: Case, total: int, rounds: int) -> Outcome:
        """Measures a case.

        Args:
            case: the case; subjects that don't support runs of its length are left out.
            total: steps per round, in as many runs as needed.
            rounds: rounds per subject, alternating, after a warm-up.

        Raises:
            PeerError: our runtime failed.
        """
        subjects = [
            name
            for name, each in SUBJECTS.items()
            if each.program in self._programs and each.takes(case.steps, case.calls)
        ]
        there = {name: peer for name in subjects if (peer := self._peer(SUBJECTS[name].program))}
        lost = {name: self._absent[SUBJECTS[name].program] for name in subjects if name not in there}
        samples: dict[str, list[Sample]] = {name: [] for name in there}
        task = {"task": "steps", "runs": max(1, total // case.steps), "steps": case.steps, "calls": case.calls}

        def measure(name: str) -> Measure:
            def once() -> float:
                sample = Sample.of(there[name].ask({**task, "mode": SUBJECTS[name].mode}))
                samples[name].append(sample)
                return sample.cpu

            return once

        taken = alternate(
            {name: measure(name) for name in there}, rounds, lambda what: self._told(f"{case}: {what}"), lost
        )
        for name, why in taken.lost.items():
            if SUBJECTS[name].program == US:
                raise PeerError(why)
        return Outcome({name: samples[name][1:] for name in taken.values}, taken.lost)

    def _peer(self, program: str) -> Peer | None:
        """The program's process; None if it can't be started."""
        if program not in self._running and program not in self._absent:
            self._told(f"starting {program}")
            try:
                peer = self._stack.enter_context(Peer(self._stand_in or program, folder=self._folder))
                self.versions[program] = str(peer.ask({"task": "about"})["version"])
                self._running[program] = peer
            except PeerError as error:
                self._absent[program] = str(error).splitlines()[0]
        return self._running.get(program)
