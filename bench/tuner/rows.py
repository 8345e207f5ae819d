"""Converts the duels' results to rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from bench.engine.contest import OURS
from bench.rows import Row
from bench.tuner.duel import ALONE, BEST_OF, DUELS, WARM_STEPS, Duel, Outcome

NOBODY = Duel("")


def rows(outcomes: Mapping[str, Outcome]) -> list[Row]:
    """All rows of the duels. The main rows come first: the comparison with the faster peer of `BEST_OF`."""
    found: list[Row] = []
    plain = [name for name in outcomes if not _duel(name).recompute]
    if plain:
        best = _best(outcomes) or plain[0]
        found += [
            _throughput("tuning_throughput", best, outcomes[best]),
            _warm_up(best, outcomes[best]),
            _memory("tuning_memory", best, outcomes[best]),
        ]
    for name in plain:
        if name != ALONE:
            found.append(_throughput(f"tuning_vs_{name}", name, outcomes[name]))
            found.append(_memory(f"tuning_memory_vs_{name}", name, outcomes[name]))
    for name in set(outcomes) - set(plain):
        found.append(_throughput("tuning_recompute", name, outcomes[name]))
        found.append(_memory("tuning_recompute_memory", name, outcomes[name]))
    return found


def _duel(name: str) -> Duel:
    return DUELS.get(name, NOBODY)


def _best(outcomes: Mapping[str, Outcome]) -> str | None:
    """The duel with the fastest of the peers in `BEST_OF`; None if none was measured."""
    fought = {name: outcomes[name].taken.values.get(name) for name in BEST_OF if name in outcomes}
    speeds = {name: statistics.median(values) for name, values in fought.items() if values}
    return max(speeds, key=speeds.__getitem__, default=None)


def _throughput(row: str, name: str, outcome: Outcome) -> Row:
    ours, theirs = outcome.sides[OURS], outcome.sides.get(name)
    note = f"{_millions(ours.about)} trained"
    if theirs is not None:
        note += f", the peer's {_millions(theirs.about)}; {theirs.padding:.1%} of its places were padding"
    peer = None if name == ALONE else name
    return outcome.taken.row(row, "tok/s", peer, shown=_duel(name).shown or None, note=note)


def _warm_up(name: str, outcome: Outcome) -> Row:
    seconds, later = {}, {}
    for who, side in outcome.sides.items():
        seconds[who] = float(side.warm_up["seconds"])
        later[who] = side.warm_up["tokens"] / statistics.median(outcome.taken.values[who])
    calm = " and ".join(f"{each:.0f} s" for each in later.values())
    return Row(
        "tuning_warmup_seconds",
        seconds[OURS],
        "s",
        _duel(name).shown or None,
        seconds.get(name),
        higher_is_better=False,
        note=f"the first {WARM_STEPS} steps, nothing compiled before; later as many take {calm}",
    )


def _memory(row: str, name: str, outcome: Outcome) -> Row:
    theirs = outcome.sides.get(name)
    return Row(
        row,
        outcome.sides[OURS].peak / 2**20,
        "MiB",
        _duel(name).shown or None,
        None if theirs is None else theirs.peak / 2**20,
        higher_is_better=False,
        note=outcome.taken.lost.get(name),
    )


def _millions(about: Mapping[str, float]) -> str:
    return f"{about['trained'] / 1e6:.1f} M parameters"
