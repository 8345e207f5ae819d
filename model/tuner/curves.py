"""Plots the losses of tunings as an SVG that is readable on light and dark pages."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path

from flightloop.errors import ConfigError
from model.tuner.tuner import HISTORY, Progress

PICTURE = "curves.svg"
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 178, 62, 56
SMOOTH, LEAST = 0.02, 11
"""Window of the running mean: share of a tuning's steps, and minimum number of steps."""
BINS = 250
"""Columns of the picture; in each, the faint line spans the lowest and the highest loss of its steps."""
LABEL_GAP = 34
"""Minimum distance between two labels, which have two lines each."""
NAME = 22
"""Longest name, in characters."""

_COLOURS = ("#4F6BED", "#12A594", "#E5A000", "#D6409F", "#7C66DC", "#E5484D", "#7C8496")
_TITLE = "Tuning: loss by tokens learned from"
_LEGEND = "faint: single steps; bold: their running mean; dots: held-out conversations"
_STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #4B5366 }
    .title { font-size: 14px; font-weight: 600; fill: #171A26 }
    .note { font-size: 10px }
    .grid { stroke: #E1E4EE }
    polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
    .raw { stroke-width: 1; opacity: 0.25 }
    circle { stroke: #FFFFFF; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #9BA3B5 } .title { fill: #F7F8FB } .grid { stroke: #2C3244 } circle { stroke: #171A26 }
    }
"""

Point = tuple[float, float]
"""Tokens trained on so far, and a loss in nats."""


@dataclass(frozen=True)
class Curve:
    """Losses of one tuning.

    Attributes:
        name: label.
        steps: a point per step.
        held_out: points of the held-out conversations.
    """

    name: str
    steps: tuple[Point, ...]
    held_out: tuple[Point, ...] = ()

    def smoothed(self) -> list[Point]:
        """Running mean around each step, over fewer steps at both ends."""
        sums = [0.0, *accumulate(loss for _, loss in self.steps)]
        half = max(LEAST, round(SMOOTH * len(self.steps))) // 2
        spans = [(max(0, place - half), min(len(self.steps), place + half + 1)) for place in range(len(self.steps))]
        means = [(sums[end] - sums[start]) / (end - start) for start, end in spans]
        return [(tokens, mean) for (tokens, _), mean in zip(self.steps, means, strict=True)]


@dataclass
class Picture:
    """Redraws the chart of a running tuning after each epoch, and every ``every_s`` seconds."""

    folder: Path
    every_s: float
    clock: Callable[[], float] = time.monotonic
    _drawn: float = field(init=False)

    def __post_init__(self) -> None:
        self._drawn = self.clock()

    def told(self, progress: Progress) -> None:
        """Redraws the chart if it is due. Called after each step, once the history contains the step."""
        ended = progress.evaluation is not None or progress.step == progress.steps
        if ended or self.clock() - self._drawn >= self.every_s:
            (self.folder / PICTURE).write_text(draw(read([self.folder])), encoding="utf-8")
            self._drawn = self.clock()


def read(folders: Sequence[Path]) -> list[Curve]:
    """Reads histories from the folders of tunings. A curve is named after its folder, or the path if names repeat.

    Raises:
        ConfigError: a folder's history is missing, broken or empty.
    """
    named = len({folder.resolve().name for folder in folders}) == len(folders)
    return [_read(folder / HISTORY, folder.resolve().name if named else str(folder)) for folder in folders]


def _read(path: Path, name: str) -> Curve:
    try:
        # A line that is being written has no end yet.
        lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        steps = [json.loads(line) for line in lines]
        points = tuple((float(step["tokens"]), float(step["loss"])) for step in steps)
        held_out = [(step["tokens"], step["evaluation"]) for step in steps if step.get("evaluation") is not None]
        curve = Curve(name, points, tuple((float(tokens), float(loss)) for tokens, loss in held_out))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"cannot read the history {path}: {error}; give the folder of a tuning") from error
    if not points:
        raise ConfigError(f"{path} has no steps yet")
    return curve


def draw(curves: Sequence[Curve]) -> str:
    """Draws the chart.

    Args:
        curves: at least one, each with at least one step.
    """
    frame = _Frame.around(curves)
    coloured = [(curve, _COLOURS[place % len(_COLOURS)]) for place, curve in enumerate(curves)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_TITLE}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{_TITLE}</text>',
        f'<text x="{LEFT}" y="42">{_LEGEND}</text>',
        *_axes(frame),
        *(_line(frame, _thinned(frame, curve.steps), colour, "raw") for curve, colour in coloured),
        *(part for curve, colour in coloured for part in _bold(frame, curve, colour)),
        *_labels(frame, coloured),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


FLAT = 1e-3
"""Losses that differ by less than this, in nats, are drawn as a straight line."""


@dataclass(frozen=True)
class _Frame:
    """Ranges of tokens and losses in the picture, and the distances of its grid lines."""

    tokens: float
    low: float
    high: float
    across: float
    up: float

    @classmethod
    def around(cls, curves: Sequence[Curve]) -> _Frame:
        """A frame that contains all means and held-out losses, and all steps but the highest 2 % and the lowest 2 %."""
        losses = [loss for curve in curves for _, loss in (*curve.smoothed(), *curve.held_out)]
        losses += [loss for curve in curves for loss in _usual(curve.steps)]
        tokens = max(curve.steps[-1][0] for curve in curves)
        span = max(losses) - min(losses)
        up = _unit(span if span > FLAT else max(*losses, FLAT))
        low, high = math.floor(min(losses) / up) * up, math.ceil(max(losses) / up) * up
        return cls(tokens, low, max(high, low + up), _unit(tokens), up)

    def x(self, tokens: float) -> float:
        return LEFT + tokens / self.tokens * (WIDTH - LEFT - RIGHT)

    def y(self, loss: float) -> float:
        share = (min(loss, self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - max(0.0, share) * (HEIGHT - TOP - BOTTOM)


def _usual(steps: Sequence[Point]) -> tuple[float, float]:
    losses = sorted(loss for _, loss in steps)
    return losses[int(0.02 * (len(steps) - 1))], losses[int(0.98 * (len(steps) - 1))]


def _unit(span: float) -> float:
    """A round number that fits about five to ten times into a span."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(step * power for step in (0.1, 0.2, 0.25, 0.5, 1.0) if span <= 8 * step * power or step == 1.0)


def _thinned(frame: _Frame, steps: Sequence[Point]) -> list[Point]:
    bins = math.ceil(BINS * steps[-1][0] / frame.tokens)
    if len(steps) <= 2 * bins:
        return list(steps)
    borders = [len(steps) * place // bins for place in range(bins + 1)]
    parts = [steps[start:end] for start, end in pairwise(borders)]
    return [point for part in parts for point in sorted((min(part, key=_loss), max(part, key=_loss)))]


def _loss(point: Point) -> float:
    return point[1]


def _axes(frame: _Frame) -> Iterator[str]:
    for tick in range(round((frame.high - frame.low) / frame.up) + 1):
        loss = frame.low + tick * frame.up
        y = frame.y(loss)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:.4g}</text>'
    baseline = HEIGHT - BOTTOM + 18
    for tick in range(int(frame.tokens / frame.across) + 1):
        tokens = tick * frame.across
        yield f'<text x="{frame.x(tokens):.1f}" y="{baseline}" text-anchor="middle">{_amount(tokens)}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{baseline + 18}" text-anchor="middle">tokens</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 16 {middle:.0f})"'
    yield f'<text x="16" y="{middle:.0f}" text-anchor="middle" {turned}>loss, nats</text>'


def _amount(tokens: float) -> str:
    for unit, sign in ((1e6, " M"), (1e3, " k")):
        if tokens >= unit:
            return f"{tokens / unit:.4g}{sign}"
    return f"{tokens:.4g}"


def _line(frame: _Frame, points: Sequence[Point], colour: str, kind: str = "mean") -> str:
    path = " ".join(f"{frame.x(tokens):.1f},{frame.y(loss):.1f}" for tokens, loss in points)
    return f'<polyline class="{kind}" stroke="{colour}" points="{path}"/>'


def _bold(frame: _Frame, curve: Curve, colour: str) -> list[str]:
    dots = [
        f'<circle fill="{colour}" cx="{frame.x(tokens):.1f}" cy="{frame.y(loss):.1f}" r="4.5"/>'
        for tokens, loss in curve.held_out
    ]
    smoothed = curve.smoothed()
    apart = max(1, len(smoothed) // (2 * BINS))
    return [_line(frame, [*smoothed[::apart], smoothed[-1]], colour), *dots]


def _labels(frame: _Frame, coloured: Sequence[tuple[Curve, str]]) -> Iterator[str]:
    """Labels at the lines' ends, kept apart from each other: name and final loss of each tuning."""
    wanted = sorted(
        ((frame.y(curve.smoothed()[-1][1]), place) for place, (curve, _) in enumerate(coloured)), reverse=True
    )
    x, last = WIDTH - RIGHT + 16, math.inf
    for y, place in wanted:
        curve, colour = coloured[place]
        last = min(y, last - LABEL_GAP)
        told = f"{curve.smoothed()[-1][1]:.3f}"
        told += f", held out {curve.held_out[-1][1]:.3f}" if curve.held_out else ""
        yield f'<circle fill="{colour}" cx="{x}" cy="{last:.1f}" r="4"/>'
        yield f'<text x="{x + 9}" y="{last + 4:.1f}">{escape(_short(curve.name))}</text>'
        yield f'<text class="note" x="{x + 9}" y="{last + 17:.1f}">{told}</text>'


def _short(name: str) -> str:
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"
