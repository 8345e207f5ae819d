"""Our tuner and one other trainer, in turns."""

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
"""The first batches have shapes that compilers haven't seen."""


@dataclass(frozen=True)
class Duel:
    """Another way to train.

    Attributes:
        shown: how it is called in rows.
        options: of its trainer.
        recompute: whether both compute layers again for their gradients.
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
"""The name of what ours does without another."""
BEST_OF = ("peft", "peft_compiled")
"""With whose better one the tuner is compared: both train as few parameters, by a loop that wastes nothing."""


@dataclass(frozen=True)
class Trainer:
    """A running one, and what it was asked so far.

    Attributes:
        peer: its process.
        about: what it says of itself.
        warm_up: its answer to the first `WARM_STEPS` steps.
    """

    peer: Peer
    about: Answer
    warm_up: Answer

    @classmethod
    def start(
        cls, stack: ExitStack, program: str, environment: Mapping[str, str], options: Mapping[str, Any]
    ) -> Trainer:
        """Starts one that ends with ``stack``, and has it take its first steps.

        Raises:
            PeerError: it isn't installed, or failed.
        """
        peer = stack.enter_context(Peer(program, environment=environment, **options))
        return cls(peer, peer.ask({"task": "about"}), peer.ask({"task": "train", "steps": WARM_STEPS}))

    def peak(self) -> int:
        """Bytes of memory that it has had at most."""
        return int(self.peer.ask({"task": "memory"})["peak"])


@dataclass(frozen=True)
class Side:
    """What was found of one trainer.

    Attributes:
        about, warm_up: of the trainer.
        peak: bytes.
        padding: share of the places that held no token.
    """

    about: Answer
    warm_up: Answer
    peak: int
    padding: float


@dataclass(frozen=True)
class Outcome:
    """Of one duel: tokens a second by name, ours being `OURS`, and what else was found, by the same names."""

    taken: Taken
    sides: Mapping[str, Side]


def fight(trainers: Mapping[str, Trainer], steps: int, rounds: int, told: Told) -> Outcome:
    """Lets trainers learn in turns.

    Args:
        trainers: ours and perhaps another, by name.
        steps: of a round.
        rounds: of each.
        told: gets what is being measured now.

    Raises:
        PeerError: ours failed.
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
