"""Measures the image reader on drawn charts, tables and hostile files."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from agent.evals.confidence_interval import wilson
from bench.charts import digitized, in_matplotlib, in_vega
from bench.charts.hostile import damaged, instructing
from bench.charts.in_browser import CHROMIUM, Browser, echarts_script
from bench.charts.score import cells_right, values_right
from bench.charts.specimen import Specimen, bars, lines, pies
from bench.charts.tables import draw, table
from bench.rows import Row
from tools.vision import ImageRefused, Reading, TextReading, read_image
from tools.vision.advice import advise, render
from tools.vision.measures import measures_of

KINDS: dict[str, Callable[..., Specimen]] = {"bars": bars, "lines": lines, "pies": pies}
CHINESE = 0.2
"""Share of charts with Chinese text."""
JPEG = 0.25
"""Share of charts that are stored as JPEG of quality 50 to 90."""
SECONDS = 120.0
"""Longest time for a hostile file; more counts as failed."""
CACHE = Path(".flightloop/bench/echarts")


@dataclass(frozen=True)
class Wish:
    """Size of a measurement."""

    seed: str = "report"
    charts: int = 20  # of each kind and library
    tables: int = 40
    damaged: int = 60
    instructing: int = 40
    keep: Path | None = None
    """Folder for the drawn images that were not read entirely right."""


@dataclass
class Tally:
    """Right values by group."""

    counts: dict[str, list[bool]] = field(default_factory=dict)

    def add(self, group: str, right: Sequence[bool]) -> None:
        self.counts.setdefault(group, []).extend(right)

    def row(self, group: str, name: str, note: str | None = None) -> Row:
        right = self.counts.get(group, [])
        share = sum(right) / len(right) if right else 0.0
        interval = wilson(share, len(right)) if right else None
        return Row(name, share, "share", note=note, interval=interval, cases=len(right))


def measure(console: Console, wish: Wish) -> list[Row]:
    """Rows with shares of right values, right cells, rendered advice and failed hostile files."""
    tally = Tally()
    with ExitStack() as stack:
        draws = libraries(console, stack)
        for kind in KINDS:
            for name, draw_chart in draws.items():
                console.print(f"{kind} by {name} ...")
                for case in range(wish.charts):
                    _chart(tally, wish, kind, name, draw_chart, case)
    console.print("single lines ...")
    single = digitized.measure(console, wish.seed, wish.charts)
    console.print("tables ...")
    for case in range(wish.tables):
        _table(tally, wish, case)
    console.print("hostile files ...")
    failed = _failed([*damaged(wish.damaged, wish.seed), *instructing(wish.instructing, wish.seed)])
    rows = [tally.row(kind, f"{kind}_within_5") for kind in KINDS]
    rows += [tally.row(group, f"{group}_within_5") for group in ("printed", "axes", *draws) if group in tally.counts]
    rows += [tally.row("cells", "tables_cells"), tally.row("advice", "advice_renders")]
    rows.append(single)
    total = wish.damaged + wish.instructing
    return [*rows, Row("hostile_images_failed", float(failed), "files", higher_is_better=False, cases=total)]


def libraries(console: Console, stack: ExitStack) -> dict[str, Callable[[Specimen], bytes]]:
    """Functions that draw, by library; those that are not installed are left out with a message."""
    found: dict[str, Callable[[Specimen], bytes]] = {
        "matplotlib": in_matplotlib.draw,
        "seaborn": lambda specimen: in_matplotlib.draw(specimen, seaborn=True),
        "vega": in_vega.draw,
    }
    if CHROMIUM is None:
        console.print("without plotly and echarts: no chromium on the PATH (Debian: apt-get install chromium)")
        return found
    browser = stack.enter_context(Browser(CACHE))
    found["plotly"] = lambda specimen: browser.draw(specimen, "plotly")
    if echarts_script(CACHE):
        found["echarts"] = lambda specimen: browser.draw(specimen, "echarts")
    else:
        console.print("without echarts: npm could not fetch it")
    return found


def _chart(tally: Tally, wish: Wish, kind: str, name: str, draw_chart: Callable[[Specimen], bytes], case: int) -> None:
    rng = random.Random(f"{wish.seed} {kind} {name} {case}")
    chinese = rng.random() < CHINESE and in_matplotlib.has_chinese_font()
    specimen = KINDS[kind](rng, chinese=chinese)
    data = draw_chart(specimen)
    if rng.random() < JPEG:
        data = _as_jpeg(data, rng.randint(50, 90))
    reading = _read(data)
    right = values_right(specimen, reading)
    for group in (kind, "printed" if specimen.printed else "axes", name):
        tally.add(group, right)
    _advice(tally, reading)
    if wish.keep and not all(right):
        wish.keep.mkdir(parents=True, exist_ok=True)
        suffix = "jpg" if data[:2] == b"\xff\xd8" else "png"
        (wish.keep / f"{name}-{kind}-{case}.{suffix}").write_bytes(data)


def _table(tally: Tally, wish: Wish, case: int) -> None:
    rng = random.Random(f"{wish.seed} table {case}")
    rows = table(rng)
    data = draw(rows, rng)
    reading = _read(data)
    right = cells_right(rows, reading)
    tally.add("cells", right)
    _advice(tally, reading)
    if wish.keep and not all(right):
        wish.keep.mkdir(parents=True, exist_ok=True)
        (wish.keep / f"table-{case}.png").write_bytes(data)


def _read(data: bytes) -> Reading:
    try:
        return read_image(data)
    except ImageRefused:
        return TextReading(())


def _advice(tally: Tally, reading: Reading) -> None:
    """Whether the advised chart renders and contains every value of the reading."""
    measures = None if isinstance(reading, TextReading) else measures_of(reading)
    if measures is None:
        return
    spec = advise(measures).spec
    count = sum(value is not None for row in measures.values for value in row)
    try:
        drawn = render(spec).startswith(b"\x89PNG")
    except ValueError:
        drawn = False
    tally.add("advice", [drawn and len(spec["data"]["values"]) == count])


def _as_jpeg(data: bytes, quality: int) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        buffer = io.BytesIO()
        paper.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def _failed(files: Sequence[bytes]) -> int:
    """Number of files whose reading crashed, hung or raised anything but a refusal. Each is read in a child process."""
    return sum(not fine for fine in _tries(files))


def _tries(files: Sequence[bytes]) -> Iterator[bool]:
    pool = _pool()
    for data in files:
        try:
            yield pool.submit(_is_handled, data).result(timeout=SECONDS)
        except (BrokenProcessPool, TimeoutError):
            pool.shutdown(wait=False, cancel_futures=True)
            pool = _pool()
            yield False
    pool.shutdown()


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _is_handled(data: bytes) -> bool:
    try:
        reading = read_image(data)
    except ImageRefused as error:
        return bool(str(error))
    except Exception:
        return False
    if not isinstance(reading, TextReading) and (measures := measures_of(reading)):
        return render(advise(measures).spec).startswith(b"\x89PNG")
    return True
