"""Random data of a chart, without its look."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

WORDS = (
    "North", "South", "East", "West", "Berlin", "Madrid", "Oslo", "Lima", "Quito", "Cairo", "Delhi", "Tokyo",
    "Lagos", "Perth", "Apples", "Pears", "Plums", "Grapes", "Lemons", "Onions", "Rice", "Wheat", "Maize",
    "Barley", "Coffee", "Tea", "Cocoa", "Cotton", "Steel", "Copper", "Zinc", "Nickel", "Rail", "Road", "Sea",
    "Air", "Solar", "Wind", "Hydro", "Nuclear", "Coal", "Gas", "Retail", "Finance", "Health", "Energy", "Media",
    "Travel", "Sports", "Music", "Books", "Games", "Toys", "Garden",
)  # fmt: skip
CHINESE = (
    "北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "西安", "南京", "重庆",
    "苹果", "香蕉", "橙子", "葡萄", "草莓", "西瓜", "手机", "电脑", "平板", "耳机",
    "服装", "食品", "家具", "图书",
)  # fmt: skip
MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
NAMES = ("Plan", "Actual", "Forecast", "Online", "Offline", "Alpha", "Beta", "Gamma", "Delta", "Men", "Women", "2023",
         "2024", "Product A", "Product B", "Control", "Treated")  # fmt: skip
CHINESE_NAMES = ("计划", "实际", "线上", "线下", "男性", "女性", "产品甲", "产品乙", "去年", "今年")
TITLES = ("Sales by region", "Output per year", "Share of visitors", "Monthly revenue", "Results of the survey",
          "Energy use", "Customers served", "")  # fmt: skip
CHINESE_TITLES = ("各地区销售额", "月度收入", "用户数量统计", "年度产量", "")
UNITS = ("", "", "Revenue (M€)", "Tonnes", "Users (k)", "Share (%)", "Cost ($)")
CHINESE_UNITS = ("", "金额（万元）", "数量", "产量（吨）")


@dataclass(frozen=True)
class Specimen:
    """The truth of a drawn chart. ``values[s][c]`` belongs to series ``s`` and category ``c``."""

    kind: str  # bar, line or pie
    categories: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    title: str = ""
    unit: str = ""
    horizontal: bool = False
    stacked: bool = False
    log: bool = False
    printed: bool = False
    markers: bool = False
    chinese: bool = False
    style: dict[str, float] = field(default_factory=dict)
    """Random numbers from 0 to 1 by the name of a choice of the drawing; see `choice`."""

    def choice(self, name: str) -> random.Random:
        """Generator for one choice of the drawing, the same in every run."""
        return random.Random(f"{self.style['seed']} {name}")

    def label(self, value: float) -> str:
        """The value as printed at its mark."""
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def bars(rng: random.Random, *, chinese: bool) -> Specimen:
    count = rng.randint(3, 9)
    many = rng.choice((1, 1, 1, 2, 2, 3))
    stacked = many > 1 and rng.random() < 0.35
    horizontal = rng.random() < 0.3
    log = not stacked and rng.random() < 0.08
    negative = not stacked and not log and rng.random() < 0.15
    values = [_values(rng, count, log=log, negative=negative, walk=False) for _ in range(1)]
    scale = max(map(abs, values[0]))
    while len(values) < many:
        values.append(tuple(_rounded(rng.uniform(0.15, 1) * scale, scale) for _ in range(count)))
    return Specimen(
        "bar", _categories(rng, count, chinese), _names(rng, many, chinese), tuple(values),
        rng.choice(CHINESE_TITLES if chinese else TITLES), rng.choice(CHINESE_UNITS if chinese else UNITS),
        horizontal, stacked, log, rng.random() < 0.4, chinese=chinese, style={"seed": rng.random()},
    )  # fmt: skip


def lines(rng: random.Random, *, chinese: bool) -> Specimen:
    count = rng.randint(5, 12)
    many = rng.choice((1, 1, 2, 2, 3, 4))
    log = rng.random() < 0.1
    values = [_values(rng, count, log=log, negative=not log and rng.random() < 0.12, walk=rng.random() < 0.6)]
    scale = max(map(abs, values[0]))
    while len(values) < many:
        level = rng.uniform(0.3, 1.2)
        one = _values(rng, count, log=False, negative=False, walk=True)
        top = max(one)
        values.append(tuple(_rounded(value / top * scale * level, scale) for value in one))
    start = rng.randint(1990, 2015)
    years = tuple(str(start + index) for index in range(count))
    months = tuple(MONTHS[:count])
    categories = rng.choice((years, months, _categories(rng, count, chinese)))
    return Specimen(
        "line", categories, _names(rng, many, chinese), tuple(values),
        rng.choice(CHINESE_TITLES if chinese else TITLES), rng.choice(CHINESE_UNITS if chinese else UNITS),
        log=log, printed=many == 1 and rng.random() < 0.3, markers=rng.random() < 0.5, chinese=chinese,
        style={"seed": rng.random()},
    )  # fmt: skip


def pies(rng: random.Random, *, chinese: bool) -> Specimen:
    count = rng.randint(3, 7)
    values = tuple(float(rng.randint(4, 60)) for _ in range(count))
    return Specimen(
        "pie", _categories(rng, count, chinese), ("",), (values,), rng.choice(CHINESE_TITLES if chinese else TITLES),
        printed=rng.random() < 0.5, chinese=chinese, style={"seed": rng.random()},
    )  # fmt: skip


def _values(rng: random.Random, count: int, *, log: bool, negative: bool, walk: bool) -> tuple[float, ...]:
    scale = 10 ** rng.uniform(0.7, 5)
    if log:
        return tuple(_rounded(10 ** rng.uniform(0.5, 4.5), 1000) for _ in range(count))
    if walk:
        level, steps = rng.uniform(0.3, 0.7), []
        for _ in range(count):
            level = min(1.0, max(0.08, level + rng.uniform(-0.15, 0.17)))
            steps.append(_rounded(level * scale, scale))
        return tuple(steps)
    low = -0.8 if negative else 0.08
    return tuple(_rounded(rng.uniform(low, 1) * scale or scale, scale) for _ in range(count))


def _rounded(value: float, scale: float) -> float:
    return round(value, 2) if scale < 10 else round(value, 1) if scale < 300 else float(round(value))


def _categories(rng: random.Random, count: int, chinese: bool) -> tuple[str, ...]:
    if not chinese and rng.random() < 0.2:
        start = rng.randint(1995, 2015)
        return tuple(str(start + index) for index in range(count))
    return tuple(rng.sample(CHINESE if chinese else WORDS, count))


def _names(rng: random.Random, count: int, chinese: bool) -> tuple[str, ...]:
    return tuple(rng.sample(CHINESE_NAMES if chinese else NAMES, count))
