"""``python -m bench clients`` tries widely used clients against a started platform.

The model is a scripted one, whose answers the checks know, or an embedded one.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from bench.clients.client import CLIENTS, HERE, Check, Client, tried
from bench.clients.conversations import CONTEXT, MODEL, Conversations
from bench.errors import BenchError
from bench.platform import Platform
from bench.rows import Row, markdown
from bench.scripted_model import scripted_model

FAILED = "; failed: "
POOR_KEY = "a-key-of-a-tenant-without-budget"
"""Key of a tenant whose budget is used up, as an environment variable of the clients: ``POOR_KEY``."""


@dataclass(frozen=True)
class Wish:
    """What to measure."""

    clients: Sequence[str] = ()
    """Names of clients; empty: all."""
    model: str = MODEL
    """``scripted``, or the name of an embedded model."""
    port: int = 8000


def measure(console: Console, wish: Wish, done: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Tries the clients, and prints the checks that failed.

    Args:
        done: called with all rows so far after each client.

    Raises:
        BenchError: an unknown client.
        PeerError: a client's environment could not be built.
        PlatformFailed: the platform did not start.
    """
    rows: list[Row] = []
    commands = {client: client.commands() for client in _chosen(wish.clients)}
    for traced, clients in groupby(commands, key=lambda client: client.traced):
        with _platform(wish, traced=traced) as (platform, settings):
            for client in clients:
                with console.status(client.name):
                    log = platform.home / f"{client.name}.log"
                    checks = [check for command in commands[client] for check in tried(command, settings, log)]
                _show(console, client, checks)
                rows.append(row_of(client, checks))
                done(rows)
    return rows


def row_of(client: Client, checks: Sequence[Check]) -> Row:
    """Share of checks that held."""
    failed = [check.name for check in checks if not check.ok]
    note = client.packages + (FAILED + ", ".join(failed) if failed else "")
    share = (len(checks) - len(failed)) / len(checks)
    return Row(f"client_{client.name}", share, "share", note=note, cases=len(checks))


def figures(rows: Sequence[Row]) -> str:
    """A table in Markdown for the documentation."""
    lines = []
    for row in rows:
        packages, _, failed = (row.note or "").partition(FAILED)
        held = f"{round(row.value * (row.cases or 0))} of {row.cases}"
        lines.append([row.name.removeprefix("client_"), packages, held, failed])
    return markdown(["client", "version", "checks held", "failed"], lines)


def _chosen(names: Sequence[str]) -> list[Client]:
    known = {client.name: client for client in CLIENTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"unknown client {', '.join(unknown)}; choose from {', '.join(known)}")
    return [client for client in CLIENTS if not names or client.name in names]


def _show(console: Console, client: Client, checks: Sequence[Check]) -> None:
    held = sum(check.ok for check in checks)
    console.print(f"{client.name}: {held} of {len(checks)} checks held ({client.packages})", highlight=False)
    failed = [check for check in checks if not check.ok]
    if failed:
        table = Table("check", "seen", box=None, header_style="dim", padding=(0, 2))
        for check in failed:
            table.add_row(check.name, check.seen)
        console.print(table, markup=False)


@contextmanager
def _platform(wish: Wish, *, traced: bool) -> Iterator[tuple[Platform, dict[str, str]]]:
    """A platform for some clients, and the environment variables of these."""
    traces = _free_port()
    settings = {
        "FLIGHTLOOP_PROJECT": str(HERE / "project"),
        "FLIGHTLOOP_TENANT_KEYS": json.dumps({"poor": POOR_KEY}),
        "FLIGHTLOOP_TENANT_BUDGETS": json.dumps({"poor": {"tokens": 1}}),
        "FLIGHTLOOP_REQUESTS_PER_MINUTE": "100000",
    }
    if traced:
        settings |= {"FLIGHTLOOP_OTLP_ENDPOINT": f"http://127.0.0.1:{traces}", "FLIGHTLOOP_TRACE_CONTENT": "true"}
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder, scripted_model(Conversations) as script:
        home = Path(folder)
        if wish.model == MODEL:
            settings |= {
                "FLIGHTLOOP_MODEL_URL": script,
                "FLIGHTLOOP_MODEL_CONTEXT": str(CONTEXT),
                "FLIGHTLOOP_MODEL_READS_PLANS": "false",
            }
            platform = Platform(home, wish.port, (), settings, command="serve")
        else:
            settings |= {"FLIGHTLOOP_MODEL": wish.model, "FLIGHTLOOP_MODEL_MAX_CONTEXT": str(CONTEXT)}
            platform = Platform(home, wish.port, ("--no-console", "--no-prometheus"), settings)
        with platform:
            yield (
                platform,
                {
                    "URL": f"{platform.url}/v1",
                    "FLIGHTLOOP_URL": platform.url,
                    "FLIGHTLOOP_API_KEY": platform.key,
                    "MODEL": _model(platform),
                    "SCRIPTED": str(int(wish.model == MODEL)),
                    "SCRIPT_URL": script,
                    "POOR_KEY": POOR_KEY,
                    "TRACES_PORT": str(traces),
                },
            )


def _model(platform: Platform) -> str:
    answer = httpx.get(f"{platform.url}/v1/models", headers={"authorization": f"Bearer {platform.key}"})
    answer.raise_for_status()
    name: str = answer.json()["data"][0]["id"]
    return name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
