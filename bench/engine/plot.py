"""Plots throughput over the number of streams as an SVG that is readable on light and dark pages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.rows import Row

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 178, 60, 84
LABEL_GAP = 15
"""Minimum distance of two labels beside the lines' ends."""

_NAMES = {"llama_cpp": "llama.cpp Q4_1", "vllm": "vLLM bfloat16", "transformers": "transformers bfloat16"}
_COLOURS = {
    "int4": "#12A594", "int8": "#4F6BED", "bfloat16": "#7C66DC", "float32": "#D6409F",
    "llama_cpp": "#E5A000", "vllm": "#E5484D", "transformers": "#7C8496",
}  # fmt: skip
_LEGEND = "solid: flightloop, by weight format; dashed: other engines on the same model and processor"
STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #4B5366 }
    .title { font-size: 14px; font-weight: 600; fill: #171A26 }
    .note { font-size: 10px }
    .grid { stroke: #E1E4EE }
    .peer { stroke-dasharray: 6 4 }
    polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
    @media (prefers-color-scheme: dark) {
      text { fill: #9BA3B5 } .title { fill: #F7F8FB } .grid { stroke: #2C3244 }
    }
"""


@dataclass(frozen=True)
class Curve:
    """Tokens per second of one engine by number of streams."""

    name: str
    points: tuple[tuple[int, float], ...]


def curves(rows: Sequence[Row]) -> list[Curve]:
    """The curves in the rows ``throughput_<engine>_<streams>``, ours first."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if match := re.fullmatch(r"throughput_(\w+)_(\d+)", row.name):
            found.setdefault(match[1], []).append((int(match[2]), row.value))
    order = {name: place for place, name in enumerate(_COLOURS)}
    names = sorted(found, key=lambda name: order.get(name, len(order)))
    return [Curve(name, tuple(sorted(found[name]))) for name in names]


def draw(curves: Sequence[Curve], caption: str) -> str:
    """Draws the chart.

    Args:
        curves: at least one, each with at least one point.
        caption: description of the machine.
    """
    streams = sorted({x for curve in curves for x, _ in curve.points})
    frame = _Frame(streams, _round_up(max(y for curve in curves for _, y in curve.points)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Throughput over streams">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">Decoding: tokens a second, all streams together</text>',
        f'<text x="{LEFT}" y="42">{_LEGEND}</text>',
        *_axes(frame),
        *(part for curve in curves for part in _line(frame, curve)),
        *_labels(frame, curves),
        *_note(caption),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Frame:
    streams: Sequence[int]
    top: float

    def x(self, streams: int) -> float:
        first, last = math.log2(self.streams[0]), math.log2(self.streams[-1])
        share = (math.log2(streams) - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def _round_up(value: float) -> float:
    unit = 10 ** math.floor(math.log10(value))
    return next(float(step * unit) for step in (1, 2, 2.5, 4, 5, 8, 10) if step * unit >= value)


def _axes(frame: _Frame) -> list[str]:
    parts = []
    for tick in range(5):
        value = frame.top * tick / 4
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>')
    baseline = HEIGHT - BOTTOM + 18
    for streams in frame.streams:
        parts.append(f'<text x="{frame.x(streams):.1f}" y="{baseline}" text-anchor="middle">{streams}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{baseline + 16}" text-anchor="middle">streams</text>')
    return parts


def _line(frame: _Frame, curve: Curve) -> list[str]:
    places = [(frame.x(streams), frame.y(value)) for streams, value in curve.points]
    colour = _colour(curve)
    peer = ' class="peer"' if curve.name in _NAMES else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle fill="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in places]
    return [f'<polyline{peer} stroke="{colour}" points="{path}"/>', *dots]


def _colour(curve: Curve) -> str:
    return _COLOURS.get(curve.name, _COLOURS["transformers"])


def _labels(frame: _Frame, curves: Sequence[Curve]) -> list[str]:
    parts = []
    for y, curve in _ends(frame, curves):
        x = frame.x(curve.points[-1][0]) + 8
        name = escape(_NAMES.get(curve.name, curve.name))
        dot = f'<circle fill="{_colour(curve)}" cx="{x + 4:.1f}" cy="{y:.1f}" r="4"/>'
        parts.append(f'{dot}<text x="{x + 13:.1f}" y="{y + 4:.1f}">{name}</text>')
    return parts


def _ends(frame: _Frame, curves: Sequence[Curve]) -> list[tuple[float, Curve]]:
    """Heights of the labels at the lines' ends, moved up where they would overlap."""
    wanted = sorted(((frame.y(curve.points[-1][1]), curve.name, curve) for curve in curves), reverse=True)
    placed: list[tuple[float, Curve]] = []
    for y, _, curve in wanted:
        placed.append((min(y, placed[-1][0] - LABEL_GAP) if placed else y, curve))
    return placed


def _note(caption: str, most: int = 120) -> list[str]:
    words, lines = caption.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > most:
            lines.append("")
        lines[-1] += f" {word}"
    first = HEIGHT - 12 * (len(lines) - 1) - 6
    return [
        f'<text class="note" x="{LEFT}" y="{first + 12 * place}">{escape(line.strip())}</text>'
        for place, line in enumerate(lines)
    ]
