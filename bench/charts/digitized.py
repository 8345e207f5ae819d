"""Plots of one line, read by the reader and by PlotDigitizer.

PlotDigitizer needs a person who clicks on the axes. Here it is told the exact pixels of the plot area, and gets the
image cropped to it, as its manual advises. The reader gets the whole image and nothing else.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from agent.evals.confidence_interval import wilson
from bench.charts.score import is_near, values_right
from bench.charts.specimen import Specimen, lines
from bench.peers.environment import PeerError
from bench.peers.peer import Peer
from bench.rows import Row
from tools.vision import ImageRefused, read_image

NAME = "single_lines_within_5"
PEER = "plotdigitizer"
MARGIN = 3
"""Pixels that are left around the plot area."""
LETTERS = 7
"""Letters of labels per inch of a figure's width, above which level labels would overlap."""


@dataclass(frozen=True)
class Plot:
    """A drawn line.

    Attributes:
        area: left, top, right and bottom of the plot area in pixels from the upper left corner.
        x, y: data values at left and right, and at bottom and top of the area.
    """

    image: bytes
    area: tuple[int, int, int, int]
    x: tuple[float, float]
    y: tuple[float, float]


def measure(console: Console, seed: str, count: int, peer: str = PEER) -> Row:
    """Share of the values of ``count`` plots that are right; without the peer's if it is not installed."""
    ours: list[bool] = []
    theirs: list[bool] = []
    with ExitStack() as stack:
        tool = _peer(console, stack, peer)
        for number in range(count):
            specimen = single_line(random.Random(f"{seed} single {number}"))
            plot = draw(specimen)
            ours += read(specimen, plot)
            if tool is not None:
                theirs += traced(specimen, plot, tool)
        told = tool and tool.ask({"task": "about"})["version"]
    share = sum(ours) / len(ours)
    row = Row(NAME, share, "share", interval=wilson(share, len(ours)), cases=len(ours))
    if not theirs:
        return row
    note = f"{peer} {told} is given the axes"
    return replace(row, peer=peer, peer_value=sum(theirs) / len(theirs), note=note)


def _peer(console: Console, stack: ExitStack, name: str) -> Peer | None:
    try:
        return stack.enter_context(Peer(name))
    except PeerError as error:
        console.print(f"without {name}: {error}", highlight=False)
        return None


def single_line(rng: random.Random) -> Specimen:
    """Data of one line on a linear axis, without markers and printed values."""
    while (found := lines(rng, chinese=False)).log:
        pass
    return replace(found, names=found.names[:1], values=found.values[:1], printed=False, markers=False)


def draw(specimen: Specimen) -> Plot:
    """Draws a line in matplotlib's default style, whose first colour is dark enough for PlotDigitizer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pick = specimen.choice("single")
    with plt.style.context("default"):
        size = pick.uniform(5, 9), pick.uniform(3.5, 6)
        figure, axes = plt.subplots(figsize=size, dpi=pick.choice((80, 100, 120)), layout="tight")
        places = range(len(specimen.categories))
        axes.plot(places, specimen.values[0], linewidth=pick.choice((1.5, 2, 3)))
        crowded = sum(len(name) + 2 for name in specimen.categories) > LETTERS * size[0]
        axes.set_xticks(places, specimen.categories, rotation=45 if crowded else 0)
        axes.set_title(specimen.title)
        axes.set_ylabel(specimen.unit)
        if pick.random() < 0.5:
            axes.grid(alpha=0.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=figure.dpi)
        box, height = axes.get_window_extent(), figure.bbox.height
        area = round(box.x0), round(height - box.y1), round(box.x1), round(height - box.y0)
        plot = Plot(buffer.getvalue(), area, axes.get_xlim(), axes.get_ylim())
        plt.close(figure)
    return plot


def read(specimen: Specimen, plot: Plot) -> list[bool]:
    """Whether the reader has each value of the line within 5 %."""
    try:
        return values_right(specimen, read_image(plot.image))
    except ImageRefused:
        return [False] * len(specimen.categories)


def traced(specimen: Specimen, plot: Plot, tool: Peer) -> list[bool]:
    """Whether the peer has each value of the line within 5 %; none if it fails."""
    from PIL import Image

    left, top, right, bottom = plot.area
    truth = specimen.values[0]
    with tempfile.TemporaryDirectory() as folder, Image.open(io.BytesIO(plot.image)) as whole:
        path = Path(folder) / "plot.png"
        whole.convert("RGB").crop((left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)).save(path)
        corners = {"left": MARGIN, "bottom": MARGIN, "right": MARGIN + right - left, "top": MARGIN + bottom - top}
        try:
            points = tool.ask({"task": "trace", "image": str(path), **corners})["points"]
        except PeerError:
            return [False] * len(truth)
    return [is_near(value, true) for value, true in zip(_values(points, plot, len(truth)), truth, strict=True)]


def _values(points: Sequence[Sequence[float]], plot: Plot, count: int) -> list[float | None]:
    """Heights of a traced line at the categories, which lie at x = 0, 1, 2 …"""
    if not points:
        return [None] * count
    xs, ys = np.array(points).T
    wanted = (np.arange(count) - plot.x[0]) / (plot.x[1] - plot.x[0])
    heights = np.interp(wanted, xs, ys)
    return [float(plot.y[0] + height * (plot.y[1] - plot.y[0])) for height in heights]
