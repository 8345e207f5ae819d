"""Draws a reliability diagram as an SVG that is readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.engine.plot import STYLE
from bench.tools.calibration import BINS, Bin, error

SIDE = 400
WIDTH, HEIGHT = 620, 540
LEFT, TOP = 64, 60
_COLOUR = "#12A594"


def draw(bins: Sequence[Bin], caption: str) -> str:
    """The diagram: a column per bin, as high as its share of right answers, and a dot at their mean confidence.

    Args:
        bins: at least one.
        caption: description of the measurement.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Reliability diagram">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">Tool calls: share right by confidence</text>',
        f'<text x="{LEFT}" y="42">expected calibration error {error(bins):.3f}; dashed: perfect calibration</text>',
        *_axes(),
        *(part for each in bins for part in _column(each)),
        f'<line class="peer" stroke="#7C8496" x1="{LEFT}" y1="{_y(0)}" x2="{LEFT + SIDE}" y2="{_y(1)}"/>',
        *(f'<circle fill="#D6409F" cx="{_x(each.confidence):.1f}" cy="{_y(each.right):.1f}" r="3"/>' for each in bins),
        f'<text class="note" x="{LEFT}" y="{HEIGHT - 10}">{escape(caption)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(value: float) -> float:
    return LEFT + value * SIDE


def _y(value: float) -> float:
    return TOP + (1 - value) * SIDE


def _axes() -> list[str]:
    parts = []
    for tick in range(6):
        value = tick / 5
        x, y = _x(value), _y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + SIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_y(0) + 18:.0f}" text-anchor="middle">{value:g}</text>')
    middle = LEFT + SIDE / 2
    parts.append(f'<text x="{middle:.0f}" y="{_y(0) + 36:.0f}" text-anchor="middle">confidence</text>')
    turned = f'transform="rotate(-90 20 {_y(0.5):.0f})"'
    parts.append(f'<text x="20" y="{_y(0.5):.0f}" text-anchor="middle" {turned}>share right</text>')
    return parts


def _column(each: Bin) -> list[str]:
    x, width = _x(each.place / BINS), SIDE / BINS
    height = each.right * SIDE
    bar = (
        f'<rect fill="{_COLOUR}" opacity="0.6" x="{x + 1:.1f}" y="{_y(each.right):.1f}" width="{width - 2:.1f}" '
        f'height="{height:.1f}"/>'
    )
    label = (
        f'<text class="note" x="{x + width / 2:.1f}" y="{_y(0) - 4:.0f}" text-anchor="middle">{each.share:.0%}</text>'
    )
    return [bar, label]
