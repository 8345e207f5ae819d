"""Options of ECharts."""

from __future__ import annotations

from typing import Any

from bench.charts.specimen import Specimen

PALETTES = (None, None, ("#c23531", "#2f4554", "#61a0a8", "#d48265"), ("#3fb1e3", "#6be6c1", "#626c91", "#a0a7e6"),
            ("#2ec7c9", "#b6a2de", "#5ab1ef", "#ffb980"))  # fmt: skip


def option(specimen: Specimen, *, dark: bool) -> dict[str, Any]:
    """The argument of ``setOption``, without animation."""
    pick = specimen.choice("echarts")
    whole: dict[str, Any] = {
        "animation": False,
        "title": {"text": specimen.title, "left": pick.choice(("left", "center"))},
    }
    palette = pick.choice(PALETTES)
    if palette:
        whole["color"] = list(palette)
    if not dark:
        whole["backgroundColor"] = pick.choice(("#ffffff", "#ffffff", "#fafafa"))
    if specimen.chinese:
        whole["textStyle"] = {"fontFamily": "Noto Sans CJK SC"}
    if specimen.kind == "pie":
        return whole | _pie(specimen)
    if len(specimen.names) > 1:
        whole["legend"] = {"bottom": 5} if pick.random() < 0.5 else {"top": 30}
    whole["grid"] = {"left": 90, "right": 50, "top": 75, "bottom": 70}
    rotate = pick.choice((0, 0, 30, 45)) if not specimen.horizontal else 0
    category = {"type": "category", "data": list(specimen.categories), "axisLabel": {"rotate": rotate, "interval": 0}}
    value: dict[str, Any] = {"type": "log" if specimen.log else "value", "name": specimen.unit}
    if specimen.kind == "line" and pick.random() < 0.5:
        value["scale"] = True
    sides = ("yAxis", "xAxis") if specimen.horizontal else ("xAxis", "yAxis")
    whole[sides[0]], whole[sides[1]] = category, value
    whole["series"] = [_series(specimen, index) for index in range(len(specimen.names))]
    return whole


def _series(specimen: Specimen, index: int) -> dict[str, Any]:
    pick = specimen.choice("echarts series")
    series: dict[str, Any] = {
        "type": specimen.kind,
        "name": specimen.names[index],
        "data": list(specimen.values[index]),
    }
    if specimen.printed:
        outside = "right" if specimen.horizontal else "top"
        series["label"] = {"show": True, "position": "inside" if specimen.stacked else outside}
    if specimen.kind == "bar":
        radius = pick.choice((0, 0, 4))
        series["itemStyle"] = {"borderRadius": radius}
        if specimen.stacked:
            series["stack"] = "all"
            series["itemStyle"] = {}
    else:
        series |= {"showSymbol": specimen.markers, "smooth": pick.random() < 0.15}
    return series


def _pie(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("echarts pie")
    data = [{"name": name, "value": value} for name, value in zip(specimen.categories, specimen.values[0], strict=True)]
    label = {"formatter": pick.choice(("{b}: {d}%", "{b}: {c}", "{b} {c} ({d}%)"))} if specimen.printed else {}
    radius = pick.choice(("62%", "55%", ["35%", "60%"]))
    series = {"type": "pie", "radius": radius, "data": data, "label": label}
    return {"series": [series], **({"legend": {"bottom": 5}} if pick.random() < 0.4 else {})}
