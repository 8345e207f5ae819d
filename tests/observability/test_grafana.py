"""The dashboards: real metrics in every panel, queries that a real Prometheus answers, a push that Grafana takes."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import yaml

from flightloop.errors import ConnectionFailed, Unauthorized
from observability.aggregator import Aggregator
from observability.boards import BOARDS, Panel
from observability.catalog import BY_NAME, Kind, Tier
from observability.exporter import Exporter
from observability.fakes import FakeGrafana, record_everything
from observability.grafana import dashboard, push
from observability.metrics import Metrics
from observability.slo import rules

PANELS = [(board.uid, panel) for board in BOARDS for panel in board.panels]


def panel_id(value: object) -> str:
    return value.title if isinstance(value, Panel) else str(value)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=panel_id)
def test_every_name_in_a_panel_exists(board, panel):
    assert panel.queries
    for query in panel.queries:
        names = set(re.findall(r"\bflightloop_\w+", query.expr))
        assert names or "flightloop:" in query.expr
        for name in names:
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert name in BY_NAME or BY_NAME[base].kind is Kind.HISTOGRAM


def test_every_metric_has_a_panel():
    """Nothing is measured that nobody looks at."""
    text = "\n".join(query.expr for _, panel in PANELS for query in panel.queries)
    assert [name for name in BY_NAME if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", text)] == []
    assert {board.uid.removeprefix("flightloop-") for board in BOARDS} == {Tier.SYSTEM, Tier.MODEL, Tier.BUSINESS}


def test_panels_have_their_own_place_and_id():
    for board in BOARDS:
        panels = dashboard(board)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken = set()
        for place in (panel["gridPos"] for panel in panels):
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert place["x"] + place["w"] <= 24
            taken |= cells


def test_push_puts_every_board_into_the_folder_and_again_over_it():
    with FakeGrafana() as grafana:
        for _ in range(2):
            urls = push(grafana.url, grafana.token)
            assert urls == [f"{grafana.url}/d/{board.uid}/board" for board in BOARDS]
        assert list(grafana.folders) == ["flightloop"]
        assert {uid: board["title"] for uid, board in grafana.dashboards.items()} == {
            board.uid: board.title for board in BOARDS
        }
        assert all(board["id"] is None for board in grafana.dashboards.values())


def test_push_says_what_is_wrong():
    with FakeGrafana() as grafana:
        with pytest.raises(Unauthorized, match="rejects the token"):
            push(grafana.url, "wrong")
        url = grafana.url
    with pytest.raises(ConnectionFailed, match=re.escape(url)):
        push(url, "any", timeout_s=2)


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[dict]:
        query = urllib.parse.urlencode({"query": expr})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def has(self, expr: str) -> bool:
        try:
            return bool(self.query(expr))
        except OSError:
            return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    """A real one, scraping an exporter at which everything happens once a scrape."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus (Debian: prometheus) is not on the PATH")
    folder: Path = tmp_path_factory.mktemp("prometheus")
    aggregator, metrics, port = Aggregator(), Metrics("replica"), free_port()

    def expose(accept: str) -> tuple[bytes, str]:
        record_everything(metrics)
        aggregator.ingest(metrics.snapshot())
        return aggregator.expose(accept)

    fast = rules()
    for group in fast["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(fast), encoding="utf-8")
    with Exporter(expose) as exporter:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "flightloop", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            ready = 'count_over_time(up{job="flightloop"}[1m]) >= 4 and on() flightloop:slo_errors:ratio_rate1h'
            for _ in range(600):
                if server.has(ready):
                    break
                assert process.poll() is None, (folder / "log").read_text()
                Event().wait(0.1)
            else:
                pytest.fail(f"no samples after a minute: {(folder / 'log').read_text()}")
            yield server
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=panel_id)
def test_every_panel_has_finite_values(prometheus, board, panel):
    for query in panel.queries:
        expr = query.expr.replace("$__rate_interval", "1m").replace("$model", ".*").replace("$agent", ".*")
        assert "$" not in expr
        result = prometheus.query(expr)
        assert result, f"no series: {expr}"
        for series in result:
            assert math.isfinite(float(series["value"][1])), expr
            for label in re.findall(r"{{(\w+)}}", query.legend):
                assert label in series["metric"]


def test_prometheus_keeps_exemplars(prometheus):
    url = f"{prometheus.url}/api/v1/query_exemplars?query=flightloop_model_ttft_seconds_bucket&start=0&end=9999999999"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = json.load(answer)["data"]
    assert {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
