"""The catalogue: names by Prometheus' conventions, the same in the documentation."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from observability import catalog as c
from observability.aggregator import Aggregator
from observability.catalog import CATALOG, Kind, Merge
from observability.documents import METRICS_PAGE, generated
from observability.fakes import record_everything
from observability.metrics import Metrics

ROOT = Path(__file__).parents[2]


def test_package_is_ours():
    assert Path(c.__file__).parent == ROOT / "observability"


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_names_and_shapes_follow_the_conventions(metric):
    assert re.fullmatch(rf"flightloop_{metric.tier}_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith(".")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.merge is Merge.SUM or metric.kind is Kind.GAUGE
    for label in metric.labels:
        assert label.name not in ("run", "run_id", "session", "session_id", "user", "tenant_id")
        assert 0 < (len(label.values) or label.limit) <= 64


def test_names_are_unique_and_every_tier_has_metrics():
    assert len({metric.name for metric in CATALOG}) == len(CATALOG)
    assert {metric.tier for metric in CATALOG} == set(c.Tier)


def test_generated_files_are_up_to_date():
    stale = [str(path) for path, text in generated(ROOT).items() if path.read_text(encoding="utf-8") != text]
    assert not stale, f"run `python -m observability`: {', '.join(stale)}"


def test_documentation_lists_exactly_the_catalogue():
    page = (ROOT / METRICS_PAGE).read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(flightloop_\w+)`", page, re.MULTILINE)) == {metric.name for metric in CATALOG}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not on the PATH")
def test_promtool_accepts_every_metric():
    aggregator, metrics = Aggregator(), Metrics("test")
    record_everything(metrics)
    aggregator.ingest(metrics.snapshot())
    text = aggregator.render()
    exposed = set(re.findall(r"^# TYPE (\w+)", text.decode(), re.MULTILINE))
    assert exposed == {metric.name for metric in CATALOG}
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
