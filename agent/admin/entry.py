"""The command line; each command imports what it needs when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.datasets import dataset
from agent.admin.logs import configured
from agent.admin.mcp import mcp
from agent.admin.tasks import evaluate, regress
from agent.admin.telling import tell
from agent.config import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Runs and administers a flightloop platform.")
policy = typer.Typer(no_args_is_help=True, help="Policies of the guardrails.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")
dashboards = typer.Typer(no_args_is_help=True, help="Grafana dashboards.")
app.add_typer(policy, name="policy")
app.add_typer(audit, name="audit")
app.add_typer(dashboards, name="dashboards")
app.add_typer(dataset, name="dataset")
app.add_typer(mcp, name="mcp")
app.command("eval")(evaluate)
app.command("regress")(regress)

Host = Annotated[str | None, typer.Option(help="Address to listen on (FLIGHTLOOP_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port of the HTTP API, 0: a free one (FLIGHTLOOP_PORT).")]
Project = Annotated[Path | None, typer.Option(help="Folder of the project (FLIGHTLOOP_PROJECT).")]

CASES = """JSONL of {stage, text, expect}; of calls also tool, arguments and effect (pure, keyed, …, unsafe);
and what the policy may look at: agent, user_text, plan (names of tools), tainted."""


@app.command()
def serve(host: Host = None, port: Port = None, project: Project = None) -> None:
    """API and worker in one process, without Ray. Needs FLIGHTLOOP_MODEL_URL: for the embedded model there is up."""
    from agent.serve.standalone import serve as run

    settings = configured(host=host, port=port, project=project)

    def started(url: str) -> None:
        typer.echo(f"flightloop answers at {url}; its API key is {_where_the_key_is(settings)}. Ctrl-C stops it.")

    asyncio.run(run(settings, started))


@app.command()
def up(
    host: Host = None,
    port: Port = None,
    project: Project = None,
    console: Annotated[bool, typer.Option(help="Start the operator console.")] = True,
    console_port: Annotated[int, typer.Option(min=1, max=65535, envvar="FLIGHTLOOP_CONSOLE_PORT")] = 8501,
    prometheus: Annotated[bool, typer.Option(help="Start Prometheus, where it is installed.")] = True,
    prometheus_port: Annotated[int, typer.Option(min=1, max=65535, envvar="FLIGHTLOOP_PROMETHEUS_PORT")] = 9090,
) -> None:
    """The whole platform on this machine: Ray Serve, model, workers, API, console, Prometheus."""
    from agent.serve.held_port import INHERITED
    from agent.serve.session import certified

    environment = dict(os.environ)  # as it was before Ray wrote into it
    with certified():
        from agent.app import application
        from agent.serve.up import Extras, up

        settings = configured(host=host, port=port, project=project)
        extras = Extras(console_port if console else None, prometheus_port if prometheus else None)
        again = up(application, settings, extras, typer.echo)
    sys.stdout.flush()
    if again:
        held = {INHERITED: os.environ[INHERITED]}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment | held)
    os._exit(0)  # everything has stopped; to take this interpreter apart would take seconds more


@app.command()
def worker(project: Project = None) -> None:
    """A worker alone, beside an API on the same journal. Needs FLIGHTLOOP_MODEL_URL."""
    from agent.admin.worker import work

    asyncio.run(work(configured(project=project)))


@app.command()
def graph(
    about: Annotated[str | None, typer.Option(help="A product, category, document or term; none: all.")] = None,
    dot: Annotated[Path | None, typer.Option(help="Write a picture there, in Graphviz's language.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write a picture there, SVG.")] = None,
) -> None:
    """What the shop's database and documents say, as the search tool and the guard know it."""
    from agent.admin.graph import show_graph
    from tools.knowledge import picture

    wanted = {picture.dot: dot, picture.svg: svg}
    show_graph(configured(), about, {draw: path for draw, path in wanted.items() if path})


@policy.command("test")
def policy_test(
    file: Annotated[Path, typer.Argument(help="The policy, YAML.")],
    cases: Annotated[Path | None, typer.Argument(help=CASES)] = None,
) -> None:
    """Checks a policy, and with it the project in whose policies/ it is; with cases, whether it decides as each of them
    expects. Exits 1 if not."""
    from agent.admin.policies import test_policy

    raise typer.Exit(0 if asyncio.run(test_policy(configured(), file, cases, tell)) else 1)


@audit.command("verify")
def audit_verify(tenant: Annotated[str, typer.Option(help="Whose audit log.")] = "default") -> None:
    """Recomputes the chain of hashes. Exits 1 at the first record that does not fit."""
    from agent.admin.audits import verify_audit

    raise typer.Exit(0 if asyncio.run(verify_audit(configured(), tenant, tell)) else 1)


@dashboards.command("push")
def dashboards_push(
    url: Annotated[str, typer.Argument(help="Base URL of the Grafana server.")],
    token: Annotated[str, typer.Option(envvar="GRAFANA_TOKEN", help="Service account token.")],
) -> None:
    """Creates or updates the dashboards in a Grafana server."""
    from observability.grafana import push

    for name in push(url, token):
        typer.echo(name)


def _where_the_key_is(settings: Settings) -> str:
    return "that of FLIGHTLOOP_API_KEY" if settings.api_key else f"in {settings.home / 'key'}"
