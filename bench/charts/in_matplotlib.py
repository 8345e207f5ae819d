"""Charts drawn by matplotlib and seaborn in many styles."""

from __future__ import annotations

import io
import warnings
from functools import cache
from typing import Any

from bench.charts.specimen import Specimen

STYLES = ("default", "default", "ggplot", "seaborn-v0_8", "seaborn-v0_8-whitegrid", "bmh", "fivethirtyeight",
          "dark_background", "classic", "Solarize_Light2", "seaborn-v0_8-pastel", "grayscale", "fast")  # fmt: skip
FONTS = ("DejaVu Sans", "DejaVu Sans", "Liberation Sans", "Liberation Serif", "Lato", "Roboto", "Open Sans")
CHINESE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Serif CJK SC", "WenQuanYi Zen Hei")  # of Debian
PALETTES = ("tab10", "Set1", "Set2", "Dark2", "Paired", "viridis", "husl")


def has_chinese_font() -> bool:
    return bool(_installed() & set(CHINESE_FONTS))


@cache
def _installed() -> frozenset[str]:
    from matplotlib import font_manager

    return frozenset(font.name for font in font_manager.fontManager.ttflist)


def draw(specimen: Specimen, *, seaborn: bool = False) -> bytes:
    """PNG of the specimen. With ``seaborn``, single series are drawn by seaborn's own functions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pick = specimen.choice
    style = pick("style").choice(STYLES)
    with warnings.catch_warnings(), plt.style.context(style), plt.rc_context(_fonts(specimen)):
        warnings.simplefilter("ignore")
        if seaborn:
            _theme(specimen)
        size = pick("width").uniform(4.5, 10), pick("height").uniform(3.4, 6.5)
        figure, axes = plt.subplots(figsize=size, dpi=pick("dpi").choice((72, 80, 100, 100, 120, 150)))
        {"bar": _bars, "line": _lines, "pie": _pies}[specimen.kind](specimen, axes, seaborn)
        if specimen.title:
            axes.set_title(specimen.title)
        if specimen.kind != "pie":
            _dress(specimen, axes)
        buffer = io.BytesIO()
        tight = {"bbox_inches": "tight"} if pick("tight").random() < 0.6 else {}
        if not tight:
            figure.tight_layout()
        figure.savefig(buffer, format="png", **tight)
        plt.close(figure)
    return buffer.getvalue()


def _fonts(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("font")
    names = CHINESE_FONTS if specimen.chinese else (pick.choice(FONTS), "DejaVu Sans")
    known = [name for name in names if name in _installed()]
    return {"font.family": known, "axes.unicode_minus": pick.random() < 0.7, "font.size": pick.uniform(8.5, 13)}


def _theme(specimen: Specimen) -> None:
    import seaborn as sns

    pick = specimen.choice("theme")
    sns.set_theme(
        style=pick.choice(("darkgrid", "whitegrid", "ticks", "white")), palette=pick.choice(PALETTES[:5]),
        rc=_fonts(specimen),
    )  # fmt: skip


def _bars(specimen: Specimen, axes: Any, seaborn: bool) -> None:
    import numpy as np

    pick = specimen.choice("bars")
    places = np.arange(len(specimen.categories))
    many = 1 if specimen.stacked else len(specimen.names)
    width = pick.uniform(0.45, 0.85) / many
    edge = pick.choice((None, None, "white", "black"))
    extra: dict[str, Any] = {"alpha": pick.choice((1, 1, 1, 0.75))}
    if edge:
        extra |= {"edgecolor": edge, "linewidth": pick.choice((0.5, 1, 1.5))}
    if seaborn and len(specimen.names) == 1:
        import seaborn as sns

        labels = list(specimen.categories)
        data = {"x": specimen.values[0], "y": labels} if specimen.horizontal else {"x": labels, "y": specimen.values[0]}
        palette = pick.choice((None, "deep", "Set2"))
        hue = {"hue": labels, "palette": palette, "legend": False} if palette else {}
        sns.barplot(
            **{key: list(value) for key, value in data.items()},
            **hue,
            ax=axes,
            orient="h" if specimen.horizontal else "v",
        )
        for container in axes.containers if specimen.printed else ():
            axes.bar_label(container, fmt=specimen.label)
        return
    base = np.zeros(len(places))
    for index, (name, row) in enumerate(zip(specimen.names, specimen.values, strict=True)):
        at = places if specimen.stacked else places + (index - (many - 1) / 2) * width
        start = {("left" if specimen.horizontal else "bottom"): base} if specimen.stacked else {}
        plot = axes.barh if specimen.horizontal else axes.bar
        drawn = plot(at, row, width, label=name, **start, **extra)
        if specimen.stacked:
            base = base + np.array(row)
        if specimen.printed:
            kind = "center" if specimen.stacked else "edge"
            axes.bar_label(drawn, fmt=specimen.label, label_type=kind, padding=0 if specimen.stacked else 2)
    (axes.set_yticks if specimen.horizontal else axes.set_xticks)(places, specimen.categories)
    if specimen.horizontal and pick.random() < 0.5:
        axes.invert_yaxis()


def _lines(specimen: Specimen, axes: Any, seaborn: bool) -> None:
    pick = specimen.choice("lines")
    numeric = specimen.categories[0].isdigit() and pick.random() < 0.5
    x = [int(year) for year in specimen.categories] if numeric else list(range(len(specimen.categories)))
    dashes = pick.random() < 0.2
    for index, (name, row) in enumerate(zip(specimen.names, specimen.values, strict=True)):
        marker = pick.choice("os^D") if specimen.markers else None
        dash = ("-", "--", "-.", ":")[index % 4] if dashes else "-"
        axes.plot(x, row, dash, label=name, marker=marker, linewidth=pick.choice((1.2, 1.5, 2, 3)))
        for place, value in zip(x, row, strict=True) if specimen.printed else ():
            axes.annotate(specimen.label(value), (place, value), xytext=(0, 6), textcoords="offset points", ha="center")
    if not numeric:
        axes.set_xticks(x, specimen.categories)


def _pies(specimen: Specimen, axes: Any, seaborn: bool) -> None:
    pick = specimen.choice("pies")
    values = list(specimen.values[0])
    total = sum(values)
    wedge: dict[str, Any] = {"width": pick.uniform(0.3, 0.6)} if pick.random() < 0.4 else {}
    if pick.random() < 0.5:
        wedge |= {"edgecolor": "white", "linewidth": pick.choice((1, 2))}
    legend = pick.random() < 0.4
    text = (lambda share: f"{share:.1f}%") if pick.random() < 0.6 else (lambda share: f"{share * total / 100:.0f}")
    axes.pie(
        values, labels=None if legend else specimen.categories, startangle=pick.choice((0, 90, 45, 140)),
        counterclock=pick.random() < 0.6, autopct=text if specimen.printed else None, wedgeprops=wedge,
        pctdistance=1 - wedge["width"] / 2 if "width" in wedge else 0.65,
    )  # fmt: skip
    if legend:
        axes.legend(specimen.categories, loc="center left", bbox_to_anchor=(1, 0.5))


def _dress(specimen: Specimen, axes: Any) -> None:
    """Scale, grid, spines, number format, rotation of labels, axis title and legend."""
    import matplotlib.ticker as tick

    pick = specimen.choice("dress")
    side = "x" if specimen.horizontal else "y"
    value_axis = axes.xaxis if specimen.horizontal else axes.yaxis
    (axes.set_xscale if specimen.horizontal else axes.set_yscale)("log" if specimen.log else "linear")
    if pick.random() < 0.5:
        axes.grid(True, axis=pick.choice((side, "both")), alpha=pick.uniform(0.3, 1))
        axes.set_axisbelow(True)
    if pick.random() < 0.4:
        axes.spines[["top", "right"]].set_visible(False)
    if not specimen.log and pick.random() < 0.4:
        value_axis.set_major_formatter(
            tick.FuncFormatter(lambda value, _: f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}")
        )
    if specimen.unit:
        (axes.set_xlabel if specimen.horizontal else axes.set_ylabel)(specimen.unit)
    if not specimen.horizontal:
        axes.tick_params(axis="x", rotation=pick.choice((0, 0, 0, 30, 45, 90)))
    if len(specimen.names) > 1 or pick.random() < 0.2:
        place = pick.choice(({}, {}, {"loc": "upper left", "bbox_to_anchor": (1.01, 1)},
                             {"loc": "lower center", "bbox_to_anchor": (0.5, 1.08), "ncol": 4}))  # fmt: skip
        axes.legend(specimen.names, **place) if specimen.kind == "line" else axes.legend(**place)
