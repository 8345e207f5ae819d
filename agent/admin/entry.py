"""Command line of ``python -m agent``. Commands import what they need when called, so that ``--help`` is fast."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.datasets import dataset
from agent.admin.erasures import erase
from agent.admin.logs import configured
from agent.admin.mcp import mcp
from agent.admin.options import Project
from agent.admin.output import tell
from agent.admin.tasks import attack, evaluate, regress, tune
from agent.config import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Run and administer a flightloop platform.")
policy = typer.Typer(no_args_is_help=True, help="Check guardrail policies.")
audit = typer.Typer(no_args_is_help=True, help="Verify the audit log, and change its key.")
dashboards = typer.Typer(no_args_is_help=True, help="Update Grafana dashboards.")

Host = Annotated[str | None, typer.Option(help="Address to listen on (FLIGHTLOOP_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port of the HTTP API, 0: a free one (FLIGHTLOOP_PORT).")]

CASES = """JSONL of {stage, text, expect}; for calls also tool, arguments, effect (pure, keyed, …, unsafe), confidence;
optional context: agent, user_text, plan, tainted, subject and more (docs/operations.md, Cases of a policy)."""


@app.command()
def serve(host: Host = None, port: Port = None, project: Project = None) -> None:
    """Run API and worker in one process, without Ray. Needs FLIGHTLOOP_MODEL_URL; for the embedded model use up."""
    from agent.serve.standalone import serve as run

    settings = configured(host=host, port=port, project=project)

    def started(url: str) -> None:
        typer.echo(f"flightloop answers at {url}; its API key is {_where_the_key_is(settings)}. Ctrl-C stops it.")

    asyncio.run(run(settings, started))


@app.command()
def up(
    host: Host = None,
    port: Annotated[int | None, typer.Option(help="Port of the HTTP API (FLIGHTLOOP_PORT).")] = None,
    project: Project = None,
    console: Annotated[bool, typer.Option(help="Start the operator console.")] = True,
    console_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="FLIGHTLOOP_CONSOLE_PORT", help="Port of the console.")
    ] = 8501,
    prometheus: Annotated[bool, typer.Option(help="Start Prometheus, if it is installed.")] = True,
    prometheus_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="FLIGHTLOOP_PROMETHEUS_PORT", help="Port of Prometheus.")
    ] = 9090,
) -> None:
    """Run the whole platform on this machine: Ray Serve, model, workers, API, console, Prometheus."""
    from agent.serve.held_port import INHERITED
    from agent.serve.session import certified

    environment = dict(os.environ)  # before Ray modifies it
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
    os._exit(0)  # everything has stopped; a regular interpreter exit would take seconds longer


@app.command()
def worker(project: Project = None) -> None:
    """Run a single worker on the journal of an API. Needs FLIGHTLOOP_MODEL_URL."""
    from agent.admin.worker import work

    asyncio.run(work(configured(project=project)))


@app.command()
def graph(
    about: Annotated[str | None, typer.Option(help="A product, category, document or term; default: all.")] = None,
    dot: Annotated[Path | None, typer.Option(help="Write a Graphviz file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write an SVG image.")] = None,
    project: Project = None,
) -> None:
    """Show the knowledge graph of the project's database and documents, as used by the search tool and the guard."""
    from agent.admin.graph import show_graph
    from tools.knowledge import picture

    wanted = {picture.dot: dot, picture.svg: svg}
    show_graph(configured(project=project), about, {draw: path for draw, path in wanted.items() if path})


@policy.command("test")
def policy_test(
    file: Annotated[Path, typer.Argument(help="Policy file, YAML.")],
    cases: Annotated[Path | None, typer.Argument(help=CASES)] = None,
) -> None:
    """Check a policy and the project that contains it; with cases, also its decisions. Exit with 1 on a mismatch."""
    from agent.admin.policies import test_policy

    raise typer.Exit(0 if asyncio.run(test_policy(configured(), file, cases, tell)) else 1)


@policy.command("show")
def policy_show(sha256: Annotated[str, typer.Argument(help="Hash of the policy, as in a verdict.")]) -> None:
    """Print the policy that a verdict's hash names, as JSON, also if the project has another one today."""
    from agent.admin.policies import show_policy

    asyncio.run(show_policy(configured(), sha256, tell))


@audit.command("verify")
def audit_verify(
    tenant: Annotated[str | None, typer.Option(help="Tenant of the audit log; default: all tenants.")] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of checkpoints, such as a copy (FLIGHTLOOP_AUDIT_CHECKPOINTS). Name earlier files, too."
        ),
    ] = None,
) -> None:
    """Verify all records of the audit log, and compare it with its checkpoints.

    Exit with 1 if something is wrong, and with 2 if the tenant has no audit log.
    """
    from agent.admin.audits import verify_audit

    raise typer.Exit(0 if asyncio.run(verify_audit(configured(), tenant, checkpoints or [], tell)) else 1)


@audit.command("new-key")
def audit_new_key(
    lost: Annotated[bool, typer.Option("--lost", help="The key that sealed the last records is lost.")] = False,
) -> None:
    """Seal further audit records with a new key; the earlier keys still verify."""
    from agent.admin.audits import new_key

    asyncio.run(new_key(configured(), lost, tell))


@dashboards.command("push")
def dashboards_push(
    url: Annotated[str, typer.Argument(help="Base URL of the Grafana server.")],
    token: Annotated[str, typer.Option(envvar="GRAFANA_TOKEN", help="Service account token.")],
) -> None:
    """Create or update the dashboards in a Grafana server."""
    from observability.grafana import push

    for name in push(url, token):
        typer.echo(name)


# Help lists commands in the order of their registration, after those above.
app.command("eval")(evaluate)
app.command("redteam")(attack)
app.command("regress")(regress)
app.command("tune")(tune)
app.command("erase")(erase)
app.add_typer(policy, name="policy")
app.add_typer(audit, name="audit")
app.add_typer(mcp, name="mcp")
app.add_typer(dataset, name="dataset")
app.add_typer(dashboards, name="dashboards")


def _where_the_key_is(settings: Settings) -> str:
    return "in FLIGHTLOOP_API_KEY" if settings.api_key else f"in {settings.home / 'key'}"
