"""Converts a folder in a public set's own format to rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flightloop.errors import ConfigError
from model.tuner.data.row import Bad, Row
from model.tuner.data.sources import (
    api_bank,
    banking77,
    bitext,
    clinc150,
    crosswoz,
    metatool,
    nestful,
    seal_tools,
    sgd,
)
from model.tuner.data.sources.plan import Plan, Source

SOURCES: Mapping[str, Source] = {
    "api-bank": api_bank.SOURCE,
    "banking77": banking77.SOURCE,
    "bitext": bitext.SOURCE,
    "clinc150": clinc150.SOURCE,
    "crosswoz": crosswoz.SOURCE,
    "metatool": metatool.SOURCE,
    "nestful": nestful.SOURCE,
    "seal-tools": seal_tools.SOURCE,
    "sgd": sgd.SOURCE,
}


@dataclass(frozen=True)
class Converted:
    """Rows of a folder (a sample if there were too many), and records that could not be converted."""

    rows: tuple[Row, ...]
    bad: tuple[Bad, ...]


def convert(
    name: str,
    folder: Path,
    split: str | None = None,
    seed: int = 0,
    most: int | None = None,
    fits: Callable[[Row], bool] = lambda row: True,
    told: Callable[[int], None] = lambda done: None,
) -> Converted:
    """Converts a public set to rows.

    Args:
        name: name of the set, a key of ``SOURCES``.
        folder: folder of the unpacked archive.
        split: part of the set; None: the training part.
        seed: seed of random choices: the sample of rows, and the tools in addition to the needed ones.
        most: maximum number of rows; if there are more, a random sample.
        fits: whether a row is short enough. Longer rows are cut if the set allows it, otherwise they count as bad.
        told: called with the number of records read so far.

    Raises:
        ConfigError: the set or part is unknown, or the folder doesn't contain the set's archive.
    """
    if name not in SOURCES:
        raise ConfigError(f"there is no set {name!r}; choose one of {', '.join(SOURCES)}", param="source")
    source = SOURCES[name]
    split = split or source.splits[0]
    if split not in source.splits:
        raise ConfigError(f"{name} has no part {split!r}; choose one of {', '.join(source.splits)}", param="split")
    rows: list[Row] = []
    bad: list[Bad] = []
    try:
        for done, each in enumerate(_short_enough(name, source.rows(folder, Plan(split, seed, fits)), fits), 1):
            if isinstance(each, Bad):
                bad.append(each)
            else:
                rows.append(each)
            told(done)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder} can't be read as {name}: {type(error).__name__}: {error}", param="folder"
        ) from error
    if not rows:
        raise ConfigError(f"{folder} contains no rows of {name}; is it the unpacked archive?", param="folder")
    if most is not None and len(rows) > most:
        rows = random.Random(seed).sample(rows, most)
    return Converted(tuple(rows), tuple(bad))


def _short_enough(name: str, found: Iterator[Row | Bad], fits: Callable[[Row], bool]) -> Iterator[Row | Bad]:
    for number, each in enumerate(found, 1):
        yield each if isinstance(each, Bad) or fits(each) else Bad(f"{name}, row {number}", "too long")
