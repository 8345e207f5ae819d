"""MCP tools: start runs, wait for results, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from agent.mcp_server.access import api, turn
from agent.mcp_server.agents import every_agent
from agent.mcp_server.approvals import Decision, PendingApproval, decide, described, question
from agent.mcp_server.progress import Progress
from agent.mcp_server.watching import RunWatch
from flightloop.content import text_of
from flightloop.events import ApprovalRequested
from flightloop.runs import MODEL, WRITTEN_BY, Run

MOST_SECONDS = 300.0
RunId = Annotated[str, Field(description="The run_id that start_run returned.")]
Seconds = Annotated[float, Field(description="How long to wait for the run's end, at most 300 s.")]


class KnownAgent(BaseModel):
    name: str
    description: str


class RunState(BaseModel):
    """Current state of a run."""

    run_id: str
    session_id: str
    agent: str
    status: str
    output: str | None = None
    error: str | None = None
    approvals: list[PendingApproval] = Field(default_factory=list)
    """Calls that wait for a person."""


@dataclass(frozen=True)
class Waited:
    """Result of waiting for a run: its watch, and the pending call that the client's user can decide about, if any."""

    watch: RunWatch
    asked: ApprovalRequested | None
    elicit: Elicit[Decision] | None


def install(server: MCPServer) -> None:
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(annotations=reads)
    async def list_agents() -> list[KnownAgent]:
        """Lists the agents and what each is for."""
        agents = await every_agent()
        return [KnownAgent(name=agent.name, description=agent.description) for agent in agents]

    @server.tool()
    async def start_run(
        agent: Annotated[str, Field(description="Name of an agent, as in list_agents.")],
        input: Annotated[str, Field(description="What the agent should do.")],
        session_id: Annotated[str | None, Field(description="Earlier session to continue.")] = None,
    ) -> RunState:
        """Starts a run of an agent and returns its id at once, without waiting for the result."""
        metadata = {WRITTEN_BY: MODEL}  # the client's model: its "yes" is not the user's
        return _state(await api().runs.create(agent=agent, input=input, session_id=session_id, metadata=metadata))

    @server.tool()
    async def run_result(
        run_id: RunId,
        context: Context,
        waited: Annotated[Waited, Resolve(wait)],
        answer: Annotated[ElicitationResult[Decision], Resolve(ask)],
        wait_seconds: Seconds = 30.0,
    ) -> RunState:
        """Waits until a run has ended or a person has to approve a call; returns its status and answer."""
        if waited.asked is not None and await decide(waited.asked, answer):
            await waited.watch.settle(_bounded(wait_seconds))
        async with turn():
            run = await api().runs.get(run_id)
        return _state(run, [described(one, waited.watch.approvers(one.approval_id)) for one in waited.watch.pending])

    @server.tool()
    async def cancel_run(run_id: RunId) -> RunState:
        """Ends a run at its next step."""
        return _state(await api().runs.cancel(run_id))


async def wait(run_id: str, wait_seconds: float, context: Context) -> Waited:
    """Waits before ``run_result`` is called, and in later protocol versions again when the client sends an answer."""
    watch = RunWatch(api(), run_id, Progress(context).tell, turn=turn)
    await watch.settle(_bounded(wait_seconds))
    for approval in watch.pending[:1]:
        elicit = await question(context, approval)
        return Waited(watch, approval if elicit else None, elicit)
    return Waited(watch, None, None)


async def ask(waited: Annotated[Waited, Resolve(wait)]) -> Elicit[Decision] | None:
    """Returns the elicitation for the pending call. The SDK only accepts an answer to this question."""
    return waited.elicit


def _bounded(seconds: float) -> float:
    return max(0.0, min(seconds, MOST_SECONDS))


def _state(run: Run, pending: list[PendingApproval] | None = None) -> RunState:
    return RunState(
        run_id=run.id,
        session_id=run.session_id,
        agent=run.agent,
        status=run.status.value,
        output=text_of(run.output) if run.output is not None else None,
        error=run.error.message if run.error is not None else None,
        approvals=pending or [],
    )
