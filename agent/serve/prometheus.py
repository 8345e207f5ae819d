"""Configuration of Prometheus for ``python -m agent up``: ``deploy/prometheus`` with local ports and paths."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import yaml

from agent.config import Settings
from flightloop.egress import address_text

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


def prometheus_config(settings: Settings, port: int) -> dict[str, Any]:
    """Configuration of a Prometheus that scrapes this deployment and itself.

    Args:
        port: Prometheus' own port.
    """
    config: dict[str, Any] = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    host, nearby = _host(settings.host)
    targets = {"flightloop": address_text(host, settings.port), "prometheus": f"127.0.0.1:{port}"}
    # Ray's own targets are left out: they are discovered through Ray's dashboard, which the local cluster lacks.
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        if job.pop("authorization", None) and not nearby:
            job["authorization"] = {"type": "Bearer", **_key(settings)}
    return config


def _host(bound: str) -> tuple[str, bool]:
    """Host at which to scrape the API, and whether it is loopback, where ``/metrics`` needs no key."""
    try:
        address = ipaddress.ip_address(bound)
    except ValueError:
        return bound, bound == "localhost"
    if address.is_unspecified:
        return ("127.0.0.1" if address.version == 4 else "::1"), True
    return str(address), address.is_loopback


def _key(settings: Settings) -> dict[str, str]:
    if settings.api_key is None:
        return {"credentials_file": str((settings.home / "key").resolve())}
    return {"credentials": settings.api_key.get_secret_value()}
