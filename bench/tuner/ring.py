"""Runs several duels. Our trainer runs in all of them; the others run one at a time, to save memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.engine.contest import OURS, Taken, Told
from bench.peers.environment import PeerError
from bench.tuner.duel import ALONE, DUELS, Outcome, Trainer, fight


@dataclass(frozen=True)
class Ring:
    """Common settings of all duels.

    Attributes:
        ours, other: programs of `bench.peers`.
        options: options of every trainer.
        others: additional options of the others.
        environment: environment variables of every trainer.
        steps, rounds: as for `fight`.
        told: called with the current activity.
    """

    ours: str
    other: str
    options: Mapping[str, Any]
    others: Mapping[str, Any]
    environment: Mapping[str, str]
    steps: int
    rounds: int
    told: Told

    def duels(self, names: Sequence[str], *, recompute: bool) -> Iterator[tuple[str, Outcome]]:
        """Outcome of each duel, by name; of our trainer alone if no duel is named.

        If another trainer can't start, only its own duel lacks its results.

        Raises:
            PeerError: our trainer did not start, or failed.
        """
        absent: dict[str, str] = {}
        seen: Outcome | None = None
        with ExitStack() as stack:
            self.told("flightloop, first steps")
            us = Trainer.start(stack, self.ours, self.environment, {**self.options, "recompute": recompute})
            for name in names:
                try:
                    seen = self._duel(us, name)
                except PeerError as error:
                    absent[name] = str(error).splitlines()[0]
                else:
                    yield name, seen
            if seen is None:
                seen = fight({OURS: us}, self.steps, self.rounds, self.told)
            for name in absent if names else [ALONE]:
                yield name, _without(seen, name, absent)

    def _duel(self, us: Trainer, name: str) -> Outcome:
        duel = DUELS[name]
        self.told(f"{name}, first steps")
        options = {**self.options, **self.others, **duel.options, "recompute": duel.recompute}
        with ExitStack() as stack:
            them = Trainer.start(stack, self.other, self.environment, options)
            return fight({OURS: us, name: them}, self.steps, self.rounds, lambda what: self.told(f"against {what}"))


def _without(outcome: Outcome, name: str, absent: Mapping[str, str]) -> Outcome:
    lost = {name: absent[name]} if name in absent else {}
    return Outcome(Taken({OURS: outcome.taken.values[OURS]}, lost), {OURS: outcome.sides[OURS]})
