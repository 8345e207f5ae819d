"""Usage of a tenant's or a session's budget, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flightloop.usage import Spending

_AMOUNTS = {"steps": "{:,}", "tokens": "{:,}", "seconds": "{:,.1f}", "cost": "€ {:,.4f}"}
"""Quantities of a budget and their formats."""


def spending_table(whose: str, spending: Spending) -> RenderableType:
    """A row per quantity; ``left`` is what is neither used nor reserved."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("")
    for column in ("used", "reserved", "limit", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, form in _AMOUNTS.items():
        used, reserved = getattr(spending.used, name), getattr(spending.reserved, name)
        table.add_row(name, form.format(used), form.format(reserved), *_bound(spending, name))
    return Group(Text.assemble((whose, "bold"), (_window(spending), "dim")), table)


def _bound(spending: Spending, name: str) -> tuple[Text, Text]:
    bound = getattr(spending.budget, name)
    if bound is None:
        return Text("none", style="dim"), Text("")
    left = max(bound - getattr(spending.used, name) - getattr(spending.reserved, name), 0)
    return Text(_AMOUNTS[name].format(bound)), Text(_AMOUNTS[name].format(left), style="" if left else "red")


def _window(spending: Spending) -> str:
    if spending.since is None or spending.until is None:
        return ""
    return f"  {spending.since.astimezone():%d %b %H:%M} to {spending.until.astimezone():%d %b %H:%M}"
