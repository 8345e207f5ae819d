"""Tables with random content, drawn by Pillow in many styles."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from bench.charts.specimen import CHINESE, WORDS

HEADS = ("Name", "Region", "Units", "Price", "Change", "Share", "Total", "2023", "2024", "Rating", "Stock", "Code")
CHINESE_HEADS = ("名称", "地区", "数量", "价格", "变化", "占比", "合计", "评分")
SANS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Lato-Regular.ttf", "LiberationSerif-Regular.ttf")
THEMES = (
    ("white", "black", "#ddddee"), ("white", "#333333", "#2f4f7f"), ("#1e1e1e", "#eeeeee", "#444444"),
    ("#fffaf0", "#222222", "#e0d0b0"),
)  # fmt: skip
"""Colours of paper, ink and header."""
CHINESE_FONT = "NotoSansCJK-Regular.ttc"


@cache
def font_files() -> dict[str, str]:
    """Paths of the installed fonts by file name."""
    from matplotlib import font_manager

    return {path.rsplit("/", 1)[-1]: path for path in font_manager.findSystemFonts()}


def table(rng: random.Random) -> list[list[str]]:
    """Rows of cells, the header first. Every cell has text."""
    chinese = rng.random() < 0.2 and CHINESE_FONT in font_files()
    columns, rows = rng.randint(2, 7), rng.randint(3, 14)
    heads = rng.sample(CHINESE_HEADS if chinese else HEADS, columns)
    kinds = [_words(rng, chinese), *(rng.choice(KINDS) for _ in range(columns - 1))]
    return [heads, *([kind(rng) for kind in kinds] for _ in range(rows))]


def _words(rng: random.Random, chinese: bool) -> Any:
    words = CHINESE if chinese else WORDS
    many = rng.random() < 0.4 and not chinese
    return lambda r: " ".join(r.sample(words, 2)) if many else r.choice(words)


KINDS: tuple[Any, ...] = (
    lambda r: str(r.randint(0, 9)),
    lambda r: str(r.randint(10, 9999)),
    lambda r: f"{r.randint(1000, 9_999_999):,}",
    lambda r: f"{r.uniform(0, 100):.1f}%",
    lambda r: f"{r.uniform(-50, 50):+.2f}",
    lambda r: f"${r.uniform(1, 900):.2f}",
    lambda r: f"{r.choice('ABCDEFGH')}{r.choice('KLMNPRST')}-{r.randint(100, 999)}",
    lambda r: f"{r.randint(2000, 2026)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
    lambda r: r.choice(("yes", "no", "open", "closed", "pending")),
)


def draw(rows: Sequence[Sequence[str]], rng: random.Random) -> bytes:
    """PNG of a table: ruled, with level rules only, shaded rows or no rules at all."""
    from PIL import Image, ImageDraw, ImageFont

    chinese = any("\u4e00" <= letter <= "\u9fff" for row in rows for cell in row for letter in cell)
    known = [name for name in SANS if name in font_files()]
    size = rng.randint(12, 24)
    font = ImageFont.truetype(font_files()[CHINESE_FONT if chinese else rng.choice(known)], size)
    style = rng.choice(("ruled", "level", "shaded", "bare"))
    pad, tall = rng.uniform(0.8, 1.6) * size, round(size * rng.uniform(1.6, 2.4))
    widths = [max(font.getlength(row[place]) for row in rows) + 2 * pad for place in range(len(rows[0]))]
    margin = rng.randint(10, 40)
    paper, ink, head = rng.choice(THEMES)
    image = Image.new("RGB", (round(sum(widths)) + 2 * margin, tall * len(rows) + 2 * margin), paper)
    pen = ImageDraw.Draw(image)
    right = margin + sum(widths)
    line = rng.choice(("#888888", ink))
    filled = rng.random() < 0.5
    aligned = [rng.choice("lrc") for _ in widths]
    for index, row in enumerate(rows):
        top = margin + index * tall
        dark = filled and index == 0
        if dark or (style == "shaded" and index % 2):
            pen.rectangle((margin, top, right, top + tall), fill=head if dark else _shade(paper))
        colour = "white" if dark and head in ("#2f4f7f", "#444444") else "black" if dark else ink
        left = float(margin)
        for cell, width, side in zip(row, widths, aligned, strict=True):
            anchor, x = {"l": ("lm", left + pad), "r": ("rm", left + width - pad), "c": ("mm", left + width / 2)}[side]
            pen.text((x, top + tall / 2), cell, font=font, fill=colour, anchor=anchor)
            left += width
    _rule(pen, style, line, margin, right, tall, len(rows), widths)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _shade(paper: str) -> str:
    return "#2c2c2c" if paper == "#1e1e1e" else "#f0f0f0"


def _rule(
    pen: Any, style: str, line: str, margin: int, right: float, tall: int, rows: int, widths: Sequence[float]
) -> None:
    bottom = margin + rows * tall
    level = {"ruled": range(rows + 1), "level": (0, 1, rows), "shaded": (), "bare": ()}[style]
    for index in level:
        pen.line((margin, margin + index * tall, right, margin + index * tall), fill=line)
    if style == "ruled":
        left = float(margin)
        for width in [0.0, *widths]:
            left += width
            pen.line((left, margin, left, bottom), fill=line)
