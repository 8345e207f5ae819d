"""Common context of the engine's measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine.contest import OURS, Player, Told
from bench.engine.models import Models
from bench.engine.rivals import Rivals
from bench.engine.subject import Subject
from bench.peers.environment import PeerError
from bench.peers.protocol import Task
from model.config import Dtype, Kernels


@dataclass(frozen=True)
class Size:
    """Size of a measurement: a larger one takes longer and has less variance.

    Attributes:
        rounds: rounds of each measurement, alternating with its peer.
        new_tokens: tokens that a stream decodes per round.
        windows: windows of WikiText-2, 1,024 tokens each.
        streams: numbers of streams in the throughput curve.
        prompt, longer: prompt tokens of ``prefill_1000`` and ``prefill_4000``.
        step: tokens of a run's first prompt.
        long: tokens of an input that needs windows; ``short``: of one that doesn't.
        haystacks: number of texts with hidden needles, of ``hay`` tokens each, for each of these lengths.
    """

    rounds: int = 5
    new_tokens: int = 64
    windows: int = 32
    streams: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    prompt: int = 1000
    longer: int = 4000
    step: int = 1500
    long: int = 10_000
    short: int = 500
    haystacks: int = 4
    hay: tuple[int, ...] = (10_000, 31_000)


QUICK = Size(rounds=2, new_tokens=24, windows=4, haystacks=1, hay=(10_000,))
LEAST = Size(
    rounds=1,
    new_tokens=3,
    windows=1,
    streams=(1, 2),
    prompt=40,
    longer=80,
    step=60,
    long=90,
    short=30,
    haystacks=1,
    hay=(900,),
)
"""Smallest size, for tests: checks that everything runs; the figures mean nothing."""


@dataclass(frozen=True)
class Bench:
    """Context of a measurement.

    Attributes:
        models: creates the models.
        rivals: the peers.
        size: size of the measurement.
        threads: threads of matrix products, ours and the peers'.
        data: folder with WikiText-2.
        told: called with the current activity.
    """

    models: Models
    rivals: Rivals
    threads: int
    data: Path
    size: Size = field(default_factory=Size)
    told: Told = lambda what: None

    def dense(self, dtype: Dtype = "auto", **options: Any) -> Subject:
        """Our engine with the embedded model's dense base, which peers run too."""
        return self._subject(dtype, mixture=False, **options)

    def limited(self, kernels: Kernels, **options: Any) -> Subject:
        """Our engine with the dense base on another kind of kernels."""
        self.told(f"loading the dense base, kernels {kernels}")
        return Subject(self.models.embedded("auto", kernels=kernels), threads=self.threads, **options)

    def mixture(self, dtype: Dtype = "auto", **options: Any) -> Subject:
        """Our engine with the embedded mixture."""
        return self._subject(dtype, mixture=True, **options)

    def windowed(self, **options: Any) -> Subject:
        """Our engine with the dense base and the windows for long inputs."""
        self.told("loading the dense base with windows")
        return Subject(self.models.windowed(), threads=self.threads, **options)

    def _subject(self, dtype: Dtype, *, mixture: bool, **options: Any) -> Subject:
        self.told(f"loading {'the mixture' if mixture else 'the dense base'}, {dtype}")
        return Subject(self.models.embedded(dtype, mixture=mixture), threads=self.threads, **options)

    def players(self, subject: Player, *peers: str, like: Task) -> tuple[dict[str, Player], Mapping[str, str]]:
        """Our engine and the peers, as returned by `peers`."""
        there, lost = self.peers(*peers, like=like)
        return {OURS: subject, **there}, lost

    def peers(self, *names: str, like: Task) -> tuple[dict[str, Player], Mapping[str, str]]:
        """Available peers, tuned for tasks like ``like``, and reasons for missing ones."""
        there: dict[str, Player] = {}
        lost: dict[str, str] = {}
        for name in names:
            try:
                peer = self.rivals.get(name)
                self.told(f"{name}, trying its settings")
                peer.ask({"task": "tune", "like": like})
                there[name] = peer
            except PeerError as error:
                lost[name] = str(error).splitlines()[0]
        return there, lost
