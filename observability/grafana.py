"""Converts dashboards to Grafana's JSON and pushes them to a Grafana server."""

from __future__ import annotations

import json
from typing import Any

from grafana_client import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError

from flightloop.errors import ConnectionFailed, Unauthorized
from observability.boards import BOARDS, Board, Panel, Variable

FOLDER = "flightloop"
SCHEMA_VERSION = 39  # Grafana 10.4 and later
HEIGHTS = {"stat": 4}
PAGE = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(board: Board) -> dict[str, Any]:
    """A board as JSON for Grafana's import, provisioning and API."""
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["flightloop"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *(_variable(variable) for variable in board.variables)]},
        "panels": _laid_out(board.panels),
    }


def dashboard_json(board: Board) -> str:
    return json.dumps(dashboard(board), indent=2, ensure_ascii=False) + "\n"


def push(url: str, token: str, boards: tuple[Board, ...] = BOARDS, timeout_s: float = 10.0) -> list[str]:
    """Writes the boards into the folder ``flightloop`` of a Grafana server and replaces existing ones.

    Args:
        url: the server's URL, such as ``http://127.0.0.1:3000``.
        token: token of a service account that may edit dashboards and folders.

    Returns:
        URLs of the dashboards.

    Raises:
        Unauthorized: Grafana rejects the token.
        ConnectionFailed: Grafana doesn't answer, or reports another error.
    """
    api = GrafanaApi.from_url(url, credential=token, timeout=timeout_s)
    try:
        _ensure_folder(api)
        answers = [
            api.dashboard.update_dashboard(
                {"dashboard": {"id": None, **dashboard(board)}, "folderUid": FOLDER, "overwrite": True}
            )
            for board in boards
        ]
    except GrafanaUnauthorizedError as error:
        raise Unauthorized(f"Grafana at {url} rejects the token, which needs the role Editor ({error})") from error
    except (GrafanaException, OSError) as error:
        raise ConnectionFailed(f"Grafana at {url}: {error}") from error
    finally:
        api.client.s.close()  # the client has no method for this
    return [url.rstrip("/") + answer["url"] for answer in answers]


def _ensure_folder(api: GrafanaApi) -> None:
    try:
        api.folder.get_folder(FOLDER)
    except GrafanaClientError as error:
        if error.status_code != 404:
            raise
        api.folder.create_folder("flightloop", uid=FOLDER)


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric.name}, {variable.name})"
    return {
        "name": variable.name,
        "label": variable.name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "values"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Places panels from left to right. A panel that doesn't fit starts a new row."""
    made: list[dict[str, Any]] = []
    x = y = row_height = 0
    for number, panel in enumerate(panels, start=1):
        height = HEIGHTS.get(panel.kind, 8)
        if x + panel.width > PAGE:
            x, y, row_height = 0, y + row_height, 0
        made.append(_panel(number, panel) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}})
        x += panel.width
        row_height = max(row_height, height)
    return made


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    return {
        "id": number,
        "title": panel.title,
        "description": panel.help,
        "type": panel.kind,
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0 if panel.unit == "percentunit" else None},
            "overrides": [],
        },
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if instant else {"tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": instant,
                "range": not instant,
                "exemplar": not instant,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
