"""Service levels: the rules that follow from them, checked and exercised by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from observability import catalog as c
from observability.catalog import BY_NAME, Kind
from observability.slo import ALERTS, BURNS, ERRORS, EVENTS, SLOS, WINDOWS, Slo, rules

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not on the PATH"
)


def promtool(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def all_rules() -> list[dict]:
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def metrics_in(expr: str) -> set[str]:
    return set(re.findall(r"\bflightloop_(?:system|model|business|guardrail|run|tool)_\w+", expr))


def test_every_name_in_a_rule_exists():
    for rule in all_rules():
        for name in metrics_in(rule["expr"]):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert name in BY_NAME or BY_NAME[base].kind is Kind.HISTOGRAM
    assert {name for rule in all_rules() for name in metrics_in(rule["expr"])}


def test_alerts_use_records_that_exist():
    records = {(rule["record"], rule["labels"]["slo"]) for rule in all_rules() if "record" in rule}
    used = set()
    for rule in all_rules():
        if "alert" in rule:
            used |= set(re.findall(r'(flightloop:[\w:]+)\{slo="(\w+)"\}', rule["expr"]))
    assert used
    assert used <= records


def test_rules_watch_real_label_values_and_buckets():
    for rule in all_rules():
        for name, matchers in re.findall(r"(flightloop_\w+?)(?:_bucket|_count)?\{([^}]+)\}", rule["expr"]):
            labels = {label.name: label for label in BY_NAME[name].labels}
            for label, value in re.findall(r'(\w+)[!=~]+"([^"]*)"', matchers):
                if label == "le":
                    assert float(value) in BY_NAME[name].buckets
                elif labels[label].values:
                    assert value in labels[label].values


def test_an_objective_is_a_share():
    with pytest.raises(ValueError, match="objective must be between 0 and 1"):
        Slo("x", "", 99.5, "", "")


def test_burns_that_cannot_happen_are_left_out():
    for slo in SLOS:
        assert all(burn.factor * (1 - slo.objective) < 1 for burn in slo.burns())
        assert BURNS[-1] in slo.burns()


@needs_promtool
def test_promtool_accepts_rules_and_configuration():
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr
    # --syntax-only: the key and Ray's file of targets exist only while the platform runs.
    checked = promtool("check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml")
    assert checked.returncode == 0, checked.stderr


def burn_alert(slo: str, window: str, severity: str, value: str) -> dict:
    level = next(item for item in SLOS if item.name == slo)
    burn = next(item for item in BURNS if item.long == window)
    return {
        "exp_labels": {"severity": severity, "slo": slo, "window": window},
        "exp_annotations": {
            "summary": f"{slo}: the error budget burns {burn.factor:g} times too fast.",
            "description": f"{level.help} Objective {level.objective:.1%}; bad now: {value}.",
        },
    }


def requests(status: str, values: str) -> dict:
    return {
        "series": f'{c.SYSTEM_HTTP_REQUESTS.name}{{route="/v1/runs",method="POST",status="{status}"}}',
        "values": values,
    }


SCENARIOS = {
    # 10 % of the requests fail, for an hour: far over 14.4 * 0.5 %.
    "page": (
        [requests("200", "0+90x60"), requests("503", "0+10x60")],
        [("60m", "FlightloopErrorBudgetBurn", ["1h", "6h", "1d", "3d"])],
    ),
    # All is well: 1 in 1000 fails, of a budget of 5.
    "quiet": (
        [requests("200", "0+999x60"), requests("503", "0+1x60")],
        [("60m", "FlightloopErrorBudgetBurn", [])],
    ),
    # Half fails, but only three requests came at all: nobody is woken.
    "few": (
        [requests("200", "0 1 2 2x57"), requests("503", "0 1 1 1x57")],
        [("60m", "FlightloopErrorBudgetBurn", [])],
    ),
}


@needs_promtool
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_api_burns_its_budget(name, tmp_path):
    series, expected = SCENARIOS[name]
    severity = {burn.long: burn.severity for burn in BURNS}
    alerts = [
        {
            "eval_time": time,
            "alertname": alert,
            "exp_alerts": [burn_alert("api_availability", window, severity[window], "10%") for window in windows],
        }
        for time, alert, windows in expected
    ]
    run_promtool_tests(tmp_path, series, alerts)


@needs_promtool
def test_states_alert_and_end(tmp_path):
    latched = next(alert for alert in ALERTS if alert.name == "FlightloopInterruptLatched")
    overflow = next(alert for alert in ALERTS if alert.name == "FlightloopSeriesOverflow")
    metric = c.TOOL_TAINTED.name
    fires = [{"exp_labels": {"severity": "page"}, "exp_annotations": {"summary": latched.summary}}]
    over = [
        {
            "exp_labels": {"severity": "ticket", "metric": metric},
            "exp_annotations": {"summary": overflow.summary.replace("{{ $labels.metric }}", metric)},
        }
    ]
    run_promtool_tests(
        tmp_path,
        [
            {"series": c.GUARDRAIL_INTERRUPT_LATCHED.name, "values": "0x4 1x5 0x20"},
            {"series": f'{metric}{{tool="other"}}', "values": "_x10 1x30"},
        ],
        [
            {"eval_time": "3m", "alertname": latched.name, "exp_alerts": []},
            {"eval_time": "7m", "alertname": latched.name, "exp_alerts": fires},
            {"eval_time": "12m", "alertname": latched.name, "exp_alerts": []},
            {"eval_time": "15m", "alertname": overflow.name, "exp_alerts": []},
            {"eval_time": "35m", "alertname": overflow.name, "exp_alerts": over},
        ],
    )


def run_promtool_tests(tmp_path: Path, series: list[dict], alerts: list[dict]) -> None:
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": alerts}],
    }
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    ran = promtool("test", "rules", str(path))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_names_of_records_follow_the_convention():
    names = {rule["record"] for rule in all_rules() if "record" in rule}
    assert names == {f"{ERRORS}{window}" for window in WINDOWS} | {f"{EVENTS}{burn.long}" for burn in BURNS}
