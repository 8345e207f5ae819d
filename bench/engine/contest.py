"""Compares our engine and its peers in alternating rounds. A missing or failing peer only lacks figures."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from bench.peers.environment import PeerError
from bench.peers.protocol import Answer, Task
from bench.rows import Row, spread_of

OURS = "flightloop"

Told = Callable[[str], None]
Measure = Callable[[], float]
TaskOf = Callable[[int], Task]
"""Returns the task of a round. Each round has its own, so that no cache contains the answer."""


class Player(Protocol):
    """`bench.engine.subject.Subject` or `bench.peers.peer.Peer`."""

    def ask(self, task: Task) -> Answer: ...


@dataclass(frozen=True)
class Taken:
    """Measured values by player, and reasons for players without values (``lost``)."""

    values: Mapping[str, list[float]]
    lost: Mapping[str, str] = field(default_factory=dict)

    def row(
        self,
        name: str,
        unit: str,
        peer: str | None = None,
        *,
        ours: str = OURS,
        shown: str | None = None,
        higher_is_better: bool = True,
        note: str | None = None,
    ) -> Row:
        """A row that compares one player with another: medians and spreads.

        Args:
            name, unit, higher_is_better, note: fields of the row.
            peer: the player to compare with.
            ours: the player whose figure it is.
            shown: the peer's name in the row.
        """
        mine, theirs = self.values[ours], self.values.get(peer or "")
        notes = [note, self.lost.get(peer or "")]
        return Row(
            name,
            statistics.median(mine),
            unit,
            peer=shown or peer,
            peer_value=statistics.median(theirs) if theirs else None,
            higher_is_better=higher_is_better,
            spread=spread_of(mine),
            peer_spread=spread_of(theirs) if theirs else None,
            note="; ".join(each for each in notes if each) or None,
        )

    def better(self, *names: str) -> str:
        """The player with the highest median; the first name if none was measured."""
        measured = [name for name in names if self.values.get(name)]
        return max(measured, key=lambda name: statistics.median(self.values[name]), default=names[0])


def alternate(
    measures: Mapping[str, Measure], rounds: int, told: Told = lambda what: None, lost: Mapping[str, str] | None = None
) -> Taken:
    """Takes each measure once to warm up, then once per round, in reverse order every other round.

    So drifts (temperature, other load) affect all measures alike. A measure that raises PeerError is dropped.

    Args:
        measures: measures by name.
        rounds: number of rounds.
        told: called with the current activity.
        lost: measures that are dropped already, with the reasons.
    """
    out = dict(lost or {})
    values: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name in list(values) if turn % 2 else reversed(list(values)):
            told(f"{name}, round {turn} of {rounds}" if turn else f"{name}, warm-up")
            gc.collect()  # now, rather than during a measurement
            try:
                value = measures[name]()
            except PeerError as error:
                out[name] = str(error).splitlines()[0]
                del values[name]
                continue
            if turn:
                values[name].append(value)
    return Taken(values, out)


def contest(
    players: Mapping[str, Player],
    task: TaskOf,
    figure: Callable[[Answer], float],
    rounds: int,
    told: Told,
    lost: Mapping[str, str] | None = None,
) -> Taken:
    """Gives the same tasks to all players, alternating between them.

    Args:
        players: players by name.
        task: returns the task of a round; round 0 is the warm-up.
        figure: returns the figure of an answer.
        rounds: number of rounds.
        told: called with the current activity.
        lost: players that are dropped already, with the reasons.
    """

    def measure(player: Player) -> Measure:
        turns = iter(range(rounds + 1))
        return lambda: figure(player.ask(task(next(turns))))

    return alternate({name: measure(player) for name, player in players.items()}, rounds, told, lost)


def seed_of(kind: str, turn: int) -> int:
    """Seed of a round's prompts, unique to this kind of measurement."""
    return 1_000 * (crc32(kind.encode()) % 1_000_000) + turn


def rate(answer: Answer) -> float:
    """Tokens per second."""
    return float(answer["tokens"]) / float(answer["seconds"])
