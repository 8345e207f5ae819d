"""``python -m bench tools`` runs the Berkeley Function Calling Leaderboard through the platform's API."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agent.config import load_settings
from bench.engine.page import put
from bench.errors import BenchError
from bench.peers.peer import Peer
from bench.platform import Platform
from bench.rows import Row
from bench.tools.asking import Endpoint, Model
from bench.tools.bars import Bars
from bench.tools.calibration import reliability
from bench.tools.categories import Category, chosen, sample
from bench.tools.checker import Case, Checker
from bench.tools.diagram import draw
from bench.tools.experts import perplexity_ratio
from bench.tools.gain import mean_before, preference_gain
from bench.tools.outputs import Outputs
from bench.tools.page import fragment, outcomes
from bench.tools.play import Played, play_all
from bench.tools.rows import FREE, Tally, points, rows
from flightloop import Flightloop
from flightloop.errors import ConfigError

AT_ONCE = 16
"""Cases that are played at a time."""
TIMEOUT_S = 300.0
SETTINGS = {
    "FLIGHTLOOP_MODEL_SLOTS": str(AT_ONCE),
    # A quarter of the conversations exceed the default 4,096 tokens, even without mistakes.
    "FLIGHTLOOP_MODEL_MAX_CONTEXT": "8192",
    # A second replica would compete for the same processor.
    "FLIGHTLOOP_REPLICAS_MAX": "1",
}
"""Settings of the started platform, unless the environment sets them."""
PAGE, CHART = "tool-calling.md", "tool-calling.svg"


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        cases: cases per category, evenly sampled; None: all.
        categories: names of categories; empty: all.
        url: URL of a running platform; None: start one.
        port: port of the started platform.
        free: also measure without the grammar.
        data: folder with WikiText-2.
        outputs: folder for the answers, a file of JSON lines per category.
        docs: folder of the page and diagram to insert the figures into.
        before: rows of the previous tuning stage, for the row ``preference_gain``.
        judge: name of the peer that has the cases and judges answers.
        at_once: cases that are played at a time.
    """

    cases: int | None = None
    categories: Sequence[str] = ()
    url: str | None = None
    port: int = 8000
    free: bool = False
    data: Path = Path("../shared/data")
    outputs: Path | None = None
    docs: Path | None = None
    before: Path | None = None
    judge: str = "bfcl"
    at_once: int = AT_ONCE


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Plays all cases, prints the categories' table, and returns the rows.

    Args:
        console: shows progress and tables; a measurement that fails is reported and skipped.
        wish: what to measure.
        done: called with all rows so far after each part, since a run takes long and may be interrupted.

    Raises:
        BenchError: a category is unknown, the page lacks the marks, or figures of the previous stage are missing.
        PeerError: the judge is not installed, or failed; the message says what to do.
        PlatformFailed: the platform did not start.
        ConfigError: no key for the platform at ``wish.url``, or ``wish.before`` has no rows.
    """
    categories = chosen(wish.categories)
    before = mean_before(wish.before, categories) if wish.before else None
    found: list[Row] = []
    tallies: dict[str, list[Tally]] = {}
    with Peer(wish.judge) as peer, _endpoint(console, wish) as client:
        checker = Checker(peer)
        cases = {category: checker.cases(category) for category in categories}
        name = client.models.list().data[0].id
        for suffix in ("", FREE) if wish.free else ("",):
            model = Endpoint(client, name, held=suffix != FREE)
            began = time.perf_counter()
            tallies[suffix] = play(console, wish, model, checker, cases, suffix)
            found += rows(tallies[suffix], time.perf_counter() - began, suffix=suffix)
            done(found)
    console.print(outcomes(tallies))
    if before is not None:
        found.append(preference_gain(found, before))
    found += _language(console, wish)
    done(found)
    if wish.docs:
        about = f"bfcl-eval {checker.version}; model {name}; {_how_many(wish.cases)}"
        certain = points(tallies[""])
        put(wish.docs / PAGE, fragment(found, tallies, about, CHART if certain else None))
        if certain:
            (wish.docs / CHART).write_text(draw(reliability(certain), f"{about}; {len(certain):,} answers"))
    return found


def play(
    console: Console,
    wish: Wish,
    model: Model,
    checker: Checker,
    cases: Mapping[Category, Sequence[Case]],
    suffix: str = "",
) -> list[Tally]:
    """Plays a sample of the cases with a model, with a bar per category.

    Raises:
        PeerError: the judge failed.
    """
    taken = {category: [of[place] for place in sample(len(of), wish.cases)] for category, of in cases.items()}
    played: dict[Category, list[Played]] = {category: [] for category in taken}
    totals = {category.name + suffix: len(of) for category, of in taken.items()}
    with Bars(console, totals) as bars, Outputs(wish.outputs) as outputs:
        for one in play_all(model, checker, [case for of in taken.values() for case in of], wish.at_once):
            category = one.case.category
            name = category.name + suffix
            played[category].append(one)
            outputs.write(name, one)
            bars.update(name, len(played[category]), sum(each.right for each in played[category]))
    return [Tally(category, len(of), played[category]) for category, of in cases.items()]


@contextmanager
def _endpoint(console: Console, wish: Wish) -> Iterator[Flightloop]:
    """A client of the platform at ``wish.url``, or of one that is started and runs while the context is open."""
    if wish.url:
        with Flightloop(wish.url, timeout_s=TIMEOUT_S) as client:
            yield client
        return
    environment = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        Platform(
            Path(folder),
            wish.port,
            ("--no-console", "--no-prometheus"),
            environment,
            progress=lambda what, seconds: status.update(f"{what} … {seconds:.0f} s"),
        ) as platform,
        Flightloop(platform.url, platform.key, timeout_s=TIMEOUT_S) as client,
    ):
        status.stop()
        yield client


def _language(console: Console, wish: Wish) -> list[Row]:
    """The row of perplexity, if it can be measured."""
    with console.status("perplexity") as status:
        try:
            return [perplexity_ratio(load_settings(), wish.data, status.update)]
        except (BenchError, ConfigError) as error:
            console.print(f"perplexity_ratio was not measured: {error}", style="yellow", markup=False)
            return []


def _how_many(wanted: int | None) -> str:
    return "all cases" if wanted is None else f"at most {wanted} cases of each category"
