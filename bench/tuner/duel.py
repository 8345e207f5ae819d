"""Compares our tuner and one other trainer in alternating rounds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.engine.contest import OURS, Measure, Taken, Told, alternate, rate
from bench.peers.environment import PeerError
from bench.peers.peer import Peer
from bench.peers.protocol import Answer

WARM_STEPS = 3
"""Warm-up: the first batches have new shapes, for which compilers take time."""


@dataclass(frozen=True)
class Duel:
    """A trainer to compare with.

    Attributes:
        shown: name of the trainer in rows.
        options: options of the trainer.
        recompute: whether both trainers recompute layers for their gradients.
    """

    shown: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recompute: bool = False


DUELS: Mapping[str, Duel] = {
    "peft": Duel("transformers + peft"),
    "peft_compiled": Duel("transformers + peft, compiled", {"compiled": True}),
    "peft_own_loss": Duel("transformers + peft, its own loss", {"scored": "all"}),
    "all_parameters": Duel("transformers, all parameters, compiled", {"trained": "everything", "compiled": True}),
    "recompute": Duel("transformers + peft, compiled, recomputing", {"compiled": True}, recompute=True),
}
ALONE = "alone"
"""Name of our measurement without a peer."""
BEST_OF = ("peft", "peft_compiled")
"""Peers whose better result is compared with ours: both train about as many parameters, with an efficient loop."""


@dataclass(frozen=True)
class Trainer:
    """A running trainer.

    Attributes:
        peer: the trainer's process.
        about: answer to the task ``about``.
        warm_up: answer to the first `WARM_STEPS` steps.
    """

    peer: Peer
    about: Answer
    warm_up: Answer

    @classmethod
    def start(
        cls, stack: ExitStack, program: str, environment: Mapping[str, str], options: Mapping[str, Any]
    ) -> Trainer:
        """Starts a trainer that ends with ``stack``, and runs its first steps.

        Raises:
            PeerError: the trainer isn't installed, or failed.
        """
        peer = stack.enter_context(Peer(program, environment=environment, **options))
        return cls(peer, peer.ask({"task": "about"}), peer.ask({"task": "train", "steps": WARM_STEPS}))

    def peak(self) -> int:
        """Peak memory in bytes."""
        return int(self.peer.ask({"task": "memory"})["peak"])


@dataclass(frozen=True)
class Side:
    """Results of one trainer.

    Attributes:
        about, warm_up: as in `Trainer`.
        peak: peak memory in bytes.
        padding: share of padding tokens.
    """

    about: Answer
    warm_up: Answer
    peak: int
    padding: float


@dataclass(frozen=True)
class Outcome:
    """Outcome of a duel: tokens per second (``taken``) and other results by trainer; `OURS` is our trainer."""

    taken: Taken
    sides: Mapping[str, Side]


def fight(trainers: Mapping[str, Trainer], steps: int, rounds: int, told: Told) -> Outcome:
    """Runs trainers in alternating rounds.

    Args:
        trainers: ours and optionally another, by name.
        steps: steps per round.
        rounds: rounds per trainer.
        told: called with the current activity.

    Raises:
        PeerError: our trainer failed.
    """
    answers: dict[str, list[Answer]] = {name: [] for name in trainers}

    def measure(name: str) -> Measure:
        def once() -> float:
            answer = trainers[name].peer.ask({"task": "train", "steps": steps})
            answers[name].append(answer)
            return rate(answer)

        return once

    taken = alternate({name: measure(name) for name in trainers}, rounds, told)
    if OURS in taken.lost:
        raise PeerError(taken.lost[OURS])
    return Outcome(taken, {name: _side(trainers[name], answers[name]) for name in taken.values})


def _side(trainer: Trainer, answers: list[Answer]) -> Side:
    tokens, places = (sum(int(answer[key]) for answer in answers) for key in ("tokens", "padded"))
    return Side(trainer.about, trainer.warm_up, trainer.peak(), padding=1 - tokens / places)
