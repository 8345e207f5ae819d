"""Shows a tenant's budget: a bar for each limit, and only the usage of amounts without a limit."""

from __future__ import annotations

from datetime import datetime
from html import escape

import streamlit as st

from dashboards import figures, spending
from dashboards.components import badges
from dashboards.components.cards import box
from dashboards.spending import Bound
from flightloop.usage import Spending


def card(tenant: Spending, now: datetime) -> None:
    """Shows the budget; nothing if the tenant has none."""
    bounds = spending.bounds(tenant)
    if all(bound.limit is None for bound in bounds):
        return
    with box("Tenant's budget", key="budget"):
        st.html(f'<div class="fl-meters">{"".join(_meter(bound) for bound in bounds)}</div>')
        if tenant.until:
            anew = f"{figures.ahead(tenant.until, now)}, on {tenant.until.astimezone():%d %b at %H:%M}"
            st.caption(f"Covers all runs and completions. Resets {anew}.")


def _meter(bound: Bound) -> str:
    figure = f"<b>{escape(bound.text(bound.used))}</b>"
    if bound.limit is None or bound.left is None:
        return f"<div><span>{bound.label}</span>{figure}<span>no limit</span></div>"
    figure += f" <span>of {escape(bound.text(bound.limit))}</span>"
    state, colour = _state(bound)
    left = f"{bound.text(bound.left)} left" + (f" · {bound.text(bound.reserved)} reserved" if bound.reserved else "")
    return (
        f'<div style="--c:{colour}"><span>{bound.label}</span><div class="fl-pills">{figure}{state}</div>'
        f'<div class="fl-bar" role="img" aria-label="{bound.share:.0%} used">'
        f"{_part(bound.share)}{_part(bound.part(bound.reserved))}</div><span>{escape(left)}</span></div>"
    )


def _state(bound: Bound) -> tuple[str, str]:
    """A label if the limit needs attention, otherwise "", and the bar's colour."""
    if bound.exhausted:
        return badges.pill("exhausted", badges.RED), badges.RED
    if bound.taken:
        return badges.pill("all reserved", badges.AMBER), badges.AMBER
    if bound.nearly:
        return badges.pill(f"{int(100 * bound.share)} % used", badges.AMBER), badges.AMBER
    return "", badges.BLUE


def _part(part: float) -> str:
    return f'<i style="width:{min(100 * part, 100):.1f}%"></i>'
