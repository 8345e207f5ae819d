"""Commands of the CLI. All except ``new`` and ``tune`` call the server at ``FLIGHTLOOP_URL``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer
from rich.text import Text

from flightloop import Flightloop
from flightloop.approvals import why_asked
from flightloop.cli.agents import chosen
from flightloop.cli.code import code
from flightloop.cli.console import PlainConsole
from flightloop.cli.keys import keys
from flightloop.cli.listing import run_table
from flightloop.cli.live import follow
from flightloop.cli.paging import every
from flightloop.cli.predict import predict
from flightloop.cli.project import write_project
from flightloop.cli.render import evidence, line_or_lines, moment, on_one_line, run_tree, sources, whole
from flightloop.cli.tune import tuner_command
from flightloop.cli.usage import spending_table
from flightloop.errors import InvalidRequest
from flightloop.runs import Budget, Interrupt, InterruptScope, RunStatus, StopReason

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Mission control for tool-using agents.",
)
app.add_typer(keys, name="keys")
app.command()(code)
app.command()(predict)
console = PlainConsole()

Subject = Annotated[str | None, typer.Option(help="Id of the end user on whose behalf the run acts.")]
Agent = Annotated[
    str | None, typer.Option("--agent", "-a", help="Name of the agent; default: the project's only one, or support.")
]

RunId = Annotated[str, typer.Argument(help="Id of the run, such as run_…; see flightloop runs.")]
ApprovalId = Annotated[str, typer.Argument(help="Id of the approval, such as apr_…; see flightloop approvals.")]
Reason = Annotated[str | None, typer.Option(help="Recorded with the decision.")]


@app.callback()
def _server(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="Server; default: FLIGHTLOOP_URL, then this computer.")] = None,
) -> None:
    context.obj = url


def _client(context: typer.Context) -> Flightloop:
    return Flightloop(context.obj)


@app.command()
def new(name: Annotated[Path, typer.Argument(help="New folder; its name becomes the agent's name.")]) -> None:
    """Create a project: an agent, its tools, its policy and two tasks."""
    for path in write_project(name):
        console.print(f"  {path}", highlight=False)
    for line in (
        f"to serve it: FLIGHTLOOP_PROJECT={name.resolve()} python -m agent up",
        f'then: flightloop run "…" -a {name.name}',
        f"its tasks: python -m agent eval --project {name.resolve()}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _warn_of_project(client: Flightloop) -> None:
    """Warns on stderr if the project's files are invalid, because then agents differ from them."""
    project = client.project()
    if project.problem and project.broken_since:
        state = f"the version of {moment(project.loaded_at)} is in use"
        told = f"the project's files are invalid since {moment(project.broken_since)}; {state}: {project.problem}"
        PlainConsole(stderr=True).print(f"warning: {told}", style="yellow", markup=False, highlight=False)


@app.command()
def run(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What the agent should do.")],
    agent: Agent = None,
    session: Annotated[str | None, typer.Option(help="Id of a conversation to continue.")] = None,
    subject: Subject = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Maximum steps.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Maximum tokens.")] = None,
) -> None:
    """Start a run and follow it. Exit with 0 if it succeeds."""
    with _client(context) as client:
        budget = Budget(steps=steps, tokens=tokens)
        _warn_of_project(client)
        created = client.runs.create(
            agent=chosen(client, agent), input=text, session_id=session, subject=subject, budget=budget
        )
        _print_ids(created.id, f"session {created.session_id}")
        _see_through(client, created.id)


def _print_ids(*parts: str) -> None:
    console.print(line_or_lines(parts, console.width), style="dim", markup=False, highlight=False)


def _see_through(client: Flightloop, run_id: str, *, after: int = 0) -> None:
    """Follows a run to its end; its result becomes the exit code."""
    try:
        done = follow(client, console, run_id, after=after)
    except KeyboardInterrupt:
        console.print(f"\n[dim]the run continues; to stop it: flightloop stop {run_id}[/dim]", highlight=False)
        raise
    if done.stop_reason is StopReason.CONFIRMATION and not (done.subject and done.subject.claims):
        whose = ["--subject", done.subject.id] if done.subject else []
        yes = shlex.join(["flightloop", "run", "-a", done.agent, *whose, "--session", done.session_id, "yes"])
        console.print(f"to agree: {yes}", style="dim", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if done.status is RunStatus.SUCCEEDED else 1)


@app.command()
def runs(
    context: typer.Context,
    agent: Annotated[str | None, typer.Option("--agent", "-a", help="Only runs of this agent.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs with this status.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only runs on behalf of this end user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Runs of one page.")] = 20,
    after: Annotated[str | None, typer.Option(help="Cursor printed by the previous page.")] = None,
) -> None:
    """List runs, newest first."""
    with _client(context) as client:
        page = client.runs.list(agent=agent, status=status, subject=subject, limit=limit, after=after)
    console.print(run_table(page.data, console.width) if page.data else "no runs")
    if page.has_more:
        console.print(f"[dim]more: --after {page.next_after}[/dim]", highlight=False)


@app.command()
def show(context: typer.Context, run_id: RunId) -> None:
    """Show a run's steps; follow it if it is still running."""
    with _client(context) as client:
        found = client.runs.get(run_id)
        if not found.status.terminal:
            follow(client, console, run_id)
            return
        console.print(run_tree(found, client.runs.stream(run_id)))


@app.command()
def fork(
    context: typer.Context,
    run_id: RunId,
    step: Annotated[int, typer.Option(min=0, help="Number of decisions to keep; 0: start from the beginning.")],
    text: Annotated[str | None, typer.Option("--input", help="What the agent should do instead.")] = None,
    policy: Annotated[str | None, typer.Option(help="Another policy; admins only.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model.")] = None,
) -> None:
    """Start a run that begins with the first steps of another one, and follow it."""
    with _client(context) as client:
        made = client.runs.fork(run_id, step=step, input=text, policy=policy, model=model)
        _print_ids(made.id, f"forked from {run_id} after step {step}")
        _see_through(client, made.id)


@app.command()
def resume(
    context: typer.Context,
    run_id: RunId,
    steps: Annotated[int | None, typer.Option(min=1, help="Maximum steps, including those so far.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Maximum tokens, including those so far.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Maximum seconds, including those so far.")] = None,
    cost: Annotated[float | None, typer.Option(help="Maximum euros, including those so far.")] = None,
) -> None:
    """Continue a run that was stopped, failed or ran out of budget, and follow it."""
    given = {"steps": steps, "tokens": tokens, "seconds": seconds, "cost": cost}
    bounds = {name: bound for name, bound in given.items() if bound is not None}
    with _client(context) as client:
        before = client.runs.get(run_id).last_seq
        client.runs.resume(run_id, budget=bounds or None)
        _see_through(client, run_id, after=before)


@app.command()
def cancel(context: typer.Context, run_id: RunId) -> None:
    """End a run at its next step, for good. To stop it at once: flightloop stop RUN_ID."""
    with _client(context) as client:
        status = client.runs.cancel(run_id).status
    when = "" if status.terminal else ": it will end at its next step"
    console.print(f"{run_id} {status}{when}", highlight=False)


@app.command()
def approvals(context: typer.Context) -> None:
    """List the calls that wait for approval."""
    with _client(context) as client:
        items = list(every(client.approvals.list))  # a run with many pending calls must not hide those of others
    for item in items:
        console.print(Text.assemble((item.id, "bold"), f"  {item.tool}"))
        console.print(Text.assemble(whole(item.arguments), sources(item.sources), evidence(item)))
        for figure in item.figures:
            console.print(figure, style="dim", markup=False)
        if item.progress:
            console.print(item.progress, style="yellow", markup=False)
        why = on_one_line(why_asked(item.reason, item.asked))
        console.print(f"{item.run_id} · {why} · until {moment(item.expires_at)}", style="dim", markup=False)
    if not items:
        console.print("no approvals are pending")


@app.command()
def approve(context: typer.Context, approval_id: ApprovalId, reason: Reason = None) -> None:
    """Approve a call, so that it is made."""
    _decide(context, approval_id, "approve", reason)


@app.command()
def deny(context: typer.Context, approval_id: ApprovalId, reason: Reason = None) -> None:
    """Deny a call. The run goes on without it."""
    _decide(context, approval_id, "deny", reason)


def _decide(context: typer.Context, approval_id: str, decision: Literal["approve", "deny"], reason: str | None) -> None:
    with _client(context) as client:
        decided = client.approvals.decide(approval_id, decision=decision, reason=reason)
    console.print(f"{decided.id} {decided.status}: {decided.tool} of {decided.run_id}", highlight=False)
    if decided.status == "pending":
        console.print(decided.progress, style="yellow", markup=False, highlight=False)
    for one in decided.decisions[-1:]:
        if one.note:
            console.print(f"counts although {one.by} {one.note}", style="yellow", markup=False, highlight=False)


@app.command()
def stop(
    context: typer.Context,
    run_id: Annotated[str | None, typer.Argument(help="Stop this run.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop everything until it is cleared.")] = False,
    agent: Annotated[str | None, typer.Option("--agent", help="Stop an agent until it is cleared.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="Stop a session until it is cleared.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Stop an end user's runs until it is cleared.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Stop a tenant, or * for all, with the deployment's key.")
    ] = None,
    clear: Annotated[str | None, typer.Option("--clear", help="Clear the interrupt with this id.")] = None,
    reason: Annotated[str, typer.Option(help="Recorded with the stop, or with its clearing.")] = "",
) -> None:
    """Emergency stop, within a token. Without arguments: list what is stopped.

    To continue a stopped run: flightloop resume RUN_ID.
    """
    named: dict[InterruptScope, str | None]
    named = {"agent": agent, "session": session, "subject": subject, "tenant": tenant}
    given = {"RUN_ID": run_id, "--all": "all" if everything else None, "--clear": clear}
    given |= {f"--{name}": target for name, target in named.items()}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise InvalidRequest(f"stop takes only one of {', '.join(given)}; this has {' and '.join(chosen)}")
    if chosen and not given[chosen[0]]:  # such as an unset variable of a script: it must not look like a stop
        raise InvalidRequest(f"{chosen[0]} is empty: nothing was stopped or cleared")
    scope = next((name for name, target in named.items() if target), None)
    with _client(context) as client:
        if run_id:
            console.print(f"{run_id} {client.runs.interrupt(run_id, reason=reason).status}", highlight=False)
            console.print(f"[dim]to continue it: flightloop resume {run_id}[/dim]", highlight=False)
        elif clear:
            client.interrupts.clear(clear, reason=reason)
            console.print(f"{clear} cleared: new runs can start", highlight=False)
            advice = "to continue the runs that it stopped: flightloop resume RUN_ID"
            console.print(f"[dim]{advice} (flightloop runs --status interrupted)[/dim]", highlight=False)
        elif everything:
            _latched(client.interrupts.create(reason=reason))
        elif scope is not None:
            _latched(client.interrupts.create(scope=scope, target=named[scope], reason=reason))
            if agent:
                _tell_if_foreign(client, agent)
        else:
            found = list(every(client.interrupts.list))
            for item in found:
                _latched(item)
            if not found:
                console.print("nothing is stopped")


def _latched(interrupt: Interrupt) -> None:
    scope = interrupt.scope if interrupt.target is None else f"{interrupt.scope} {interrupt.target}"
    by = f" by {interrupt.created_by}" if interrupt.created_by else ""
    console.print(Text.assemble(("stopped ", "bold red"), f"{scope}{by}  {interrupt.reason}"))
    console.print(f"[dim]until: flightloop stop --clear {interrupt.id}[/dim]", highlight=False)


def _tell_if_foreign(client: Flightloop, agent: str) -> None:
    """Warns if the project has no agent of this name: a typo, or a name that only completions use."""
    known = [each.name for each in every(client.agents.list)]
    if agent not in known:
        told = f"the project has no agent {agent} (it has {', '.join(known)}): it stops completions with that name"
        console.print(f"[dim]{told}[/dim]", highlight=False)


@app.command()
def usage(
    context: typer.Context,
    session: Annotated[str | None, typer.Option(help="Also show this session.")] = None,
    subject: Annotated[str | None, typer.Option(help="Also show this end user.")] = None,
) -> None:
    """Show usage, reservations and what is left of the tenant's budget in its window."""
    with _client(context) as client:
        report = client.usage(session_id=session, subject=subject)
    console.print(spending_table("tenant", report.tenant))
    if report.session:
        console.print()
        console.print(spending_table(f"session {session}", report.session))
    if report.subject:
        console.print()
        console.print(spending_table(f"subject {subject}", report.subject))


@app.command()
def chat(
    context: typer.Context,
    agent: Agent = None,
    session: Annotated[str | None, typer.Option(help="Id of a conversation to continue.")] = None,
    subject: Subject = None,
) -> None:
    """Talk to an agent. An empty line or Ctrl-D ends the conversation."""
    session = session or f"cli-{uuid4().hex[:12]}"
    with _client(context) as client:
        _warn_of_project(client)
        agent = chosen(client, agent)
        _print_ids(agent, f"session {session}")
        while text := _ask():
            created = client.runs.create(agent=agent, input=text, session_id=session, subject=subject)
            try:
                follow(client, console, created.id)
            except KeyboardInterrupt:
                client.runs.interrupt(created.id)
                console.print("\nstopped", style="red")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tune(context: typer.Context) -> None:
    """Train the embedded model's experts, where the platform is installed; see --help."""
    command = tuner_command(context.args)
    os.execv(command[0], command)


def _ask() -> str:
    try:
        return console.input("[bold]you ▸ [/bold]").strip()
    except EOFError:
        return ""
