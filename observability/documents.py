"""Generates the files that derive from the catalogue, so that they agree with it."""

from __future__ import annotations

from pathlib import Path

from observability.boards import BOARDS
from observability.catalog import CATALOG, Metric, Tier
from observability.grafana import dashboard_json
from observability.slo import ALERTS, BURNS, SLOS, rules_yaml

START, END = "<!-- catalogue: written by `python -m observability` -->", "<!-- end of the catalogue -->"
METRICS_PAGE = Path("docs/metrics.md")


def generated(root: Path) -> dict[Path, str]:
    """Content of every generated file, by its path below the repository's root."""
    files = {root / f"dashboards/grafana/{board.uid}.json": dashboard_json(board) for board in BOARDS}
    files[root / "deploy/prometheus/rules.yml"] = rules_yaml()
    page = (root / METRICS_PAGE).read_text(encoding="utf-8")
    before, rest = page.split(START, 1)
    after = rest.split(END, 1)[1]
    files[root / METRICS_PAGE] = f"{before}{START}\n\n{catalogue_markdown()}\n{END}{after}"
    return files


def catalogue_markdown() -> str:
    """The catalogue, the service levels and the alerts as Markdown tables."""
    parts = []
    for tier in Tier:
        rows = "\n".join(_row(metric) for metric in CATALOG if metric.tier is tier)
        parts.append(f"### {tier.capitalize()}\n\n| Name | Kind | Labels | Meaning |\n|---|---|---|---|\n{rows}\n")
    levels = "\n".join(f"| {slo.name} | {slo.objective:.1%} | {slo.help} |" for slo in SLOS)
    parts.append(f"### Service levels\n\n| Name | Objective (30 days) | Good events |\n|---|---|---|\n{levels}\n")
    burns = "\n".join(f"| {burn.factor:g} | {burn.long} and {burn.short} | {burn.severity} |" for burn in BURNS)
    parts.append(f"### Burn-rate alerts\n\n| Times too fast | Both windows | Severity |\n|---|---|---|\n{burns}\n")
    alerts = "\n".join(f"| {alert.name} | {alert.severity} | {_cell(alert.summary)} |" for alert in ALERTS)
    parts.append(f"### Other alerts\n\n| Name | Severity | Meaning |\n|---|---|---|\n{alerts}\n")
    return "\n".join(parts)


def _row(metric: Metric) -> str:
    labels = ", ".join(
        f"{label.name} ({', '.join(label.values)})" if label.values else label.name for label in metric.labels
    )
    return f"| `{metric.name}` | {metric.kind} | {labels} | {_cell(metric.help)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
