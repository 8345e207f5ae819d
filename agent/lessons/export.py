"""Training data from journaled runs: rows of good runs, and preference pairs of good and bad runs with equal input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.lessons.row import Row, row_of
from agent.loop.agent_runtime import AgentRuntime
from agent.loop.context import Conversation
from agent.loop.local_hosts import LocalHosts
from agent.loop.session import converse
from agent.project.project import Project
from agent.project.subagent import as_tool, tool_name
from agent.run.history import History
from agent.run.journal import PAGE, Journal, all_events
from agent.serve.code_scan import code_scan
from flightloop.content import with_text
from flightloop.events import OutcomeVerified, RunEvent
from flightloop.runs import Rating, Run, RunStatus
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.types import Checked, GuardContext

GOOD_SCORE, BAD_SCORE = 4, 2


@dataclass(frozen=True)
class Sample:
    """A run as a training row. ``good``: whether the run went well, by its outcome or rating; None if unknown."""

    run: Run
    row: Row
    good: bool | None

    @property
    def learnable(self) -> bool:
        """Whether the run succeeded, and isn't known to have gone badly."""
        return self.run.status is RunStatus.SUCCEEDED and self.good is not False

    @property
    def question(self) -> str:
        """Key that is equal for runs that began with the same messages."""
        return repr((self.run.agent, self.row.messages[: self.row.begun]))

    def data(self) -> dict[str, Any]:
        """A training row with its ``source``, and the run by which an erasure finds it."""
        return {**self.row.data(), "source": self.run.agent, "runs": [self.run.id]}


class Exporter:
    """Reads a tenant's ended runs of the project's agents, as their models saw them.

    Texts are filtered by the current policy, as they would be in the session's next run.
    """

    def __init__(self, journal: Journal, project: Project, tenant_id: str) -> None:
        self._journal = journal
        self._project = project
        self._tenant_id = tenant_id
        self._registry = project.tools.registry
        self._runtimes: dict[str, AgentRuntime] = {}

    async def samples(self, agent: str | None = None) -> AsyncIterator[Sample]:
        """Yields samples, newest first."""
        after: str | None = None
        while True:
            page = await self._journal.runs(self._tenant_id, agent=agent, after=after, limit=PAGE)
            for run in page.data:
                # Sub-runs are left out: what their models saw has passed the policies of several agents.
                ended = run.status.terminal and run.erased_at is None
                if ended and run.parent is None and run.agent in self._project.agents:
                    sample = await self._sample(run)
                    if sample is not None:
                        yield sample
            after = page.next_after
            if not page.has_more:
                return

    async def _sample(self, run: Run) -> Sample | None:
        """Sample of a run; None if the run has no decision, or if the policy no longer permits its input."""
        runtime = self._runtime(run.agent)
        conversation = await converse(self._journal, run, runtime, None)
        if conversation.evidence:  # what was read in images are texts of strangers
            return None
        events = await all_events(self._journal, run.tenant_id, run.id)
        history = History(run.id, events)
        context = GuardContext(run.tenant_id, run.agent, run.session_id, run.id)
        ruling = await runtime.guard.check(Checked(Stage.INPUT, conversation.input_text, context))
        if not history.turns or ruling.action.severity >= Action.ASK.severity:
            return None
        if ruling.action is Action.REDACT:
            conversation.user = with_text(conversation.user, ruling.text)
        row = row_of(conversation, history, await _offered(runtime, run, history, conversation))
        return Sample(run, row, _judged(run, events))

    def _runtime(self, name: str) -> AgentRuntime:
        if name not in self._runtimes:
            agent = self._project.agent(name)
            asked = [as_tool(self._project.agent(other)) for other in agent.agents]
            hosts = LocalHosts([*self._registry.tools(), *asked])
            self._runtimes[name] = AgentRuntime(
                agent, Guard(self._project.policy_of(agent), code_scan=code_scan), hosts
            )
        return self._runtimes[name]


def pairs(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Preference pairs: for each good and bad run of the same input, the first decision in which they differ.

    ``{"messages", "tools", "chosen", "rejected"}``: what both had seen, the good run's next message and the bad one's.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.question].append(sample)
    found = [
        _parting(good, bad)
        for group in groups.values()
        for good in group
        if good.learnable and good.good
        for bad in group
        if bad.good is False
    ]
    distinct: dict[str, dict[str, Any]] = {}
    for pair in filter(None, found):
        first = distinct.setdefault(repr({**pair, "runs": None}), pair)
        first["runs"] = list(dict.fromkeys([*first["runs"], *pair["runs"]]))
    return list(distinct.values())


def _parting(good: Sample, bad: Sample) -> dict[str, Any] | None:
    for index, (right, wrong) in enumerate(zip(_plain(good.row), _plain(bad.row), strict=False)):
        if right == wrong:
            continue
        if right["role"] != "assistant" or wrong["role"] != "assistant":
            return None  # a tool's result differed, not the decision
        return {
            "messages": _plain(good.row)[:index],
            "tools": list(good.row.tools),
            "chosen": right,
            "rejected": wrong,
            "runs": [good.run.id, bad.run.id],
        }
    return None


def _plain(row: Row) -> list[dict[str, Any]]:
    """The messages without their weights, which only the tuner uses."""
    return [{name: value for name, value in message.items() if name != "weight"} for message in row.messages]


async def _offered(runtime: AgentRuntime, run: Run, history: History, conversation: Conversation) -> list[Any]:
    """The tools that the policy let the model see at the end of the run."""
    toolbox, names = runtime.hosts.registry, [*runtime.agent.tools, *map(tool_name, runtime.agent.agents)]
    context = GuardContext(
        run.tenant_id,
        run.agent,
        run.session_id,
        run.id,
        user_text=conversation.user_text,
        plan=history.plan,
        tainted=history.tainted,
    )
    writes = frozenset(name for name in names if toolbox.get(name).writes)
    return await runtime.guard.narrow(toolbox.definitions(names), context, writes)


def _judged(run: Run, events: Sequence[RunEvent]) -> bool | None:
    """Whether the run went well; None if unknown. A verified outcome counts more than the customer's rating."""
    if run.status in (RunStatus.FAILED, RunStatus.BLOCKED):
        return False
    outcomes = [event.solved for event in events if isinstance(event, OutcomeVerified)]
    if outcomes:
        return outcomes[-1]
    return None if run.feedback is None else _liked(run.feedback)


def _liked(feedback: Rating) -> bool | None:
    if not feedback.resolved or feedback.score <= BAD_SCORE:
        return False
    return True if feedback.score >= GOOD_SCORE else None
