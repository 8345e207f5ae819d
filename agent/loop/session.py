"""Earlier runs of a session that the model of a new run may see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from agent.attachments.shown import budget
from agent.loop.agent_runtime import AgentRuntime
from agent.loop.attached import Attaching, checked_readings, keeps_tables, readable
from agent.loop.confirmation import NOTHING, proposal_of
from agent.loop.context import Conversation, Exchange
from agent.loop.local_time import LocalTime
from agent.loop.session_texts import had_ended, input_texts, texts_before
from agent.loop.trail import trail_before
from agent.project.agent_spec import AgentSpec
from agent.run.journal import Journal
from flightloop.content import ImagePart, Part, TextPart, text_of
from flightloop.runs import Run, RunStatus
from flightloop.subject import Subject
from flightloop.verdicts import Action, Stage
from guardrails.types import Checked, GuardContext, Trail

PLACE = re.compile(r"\{(id|claims\.[\w.-]+)\}")
RUNS = 20
"""Maximum number of earlier runs that are read. Those that don't fit the model are removed by compaction."""
MOST_IMAGES = 8
"""Images in a prompt; of more in the session, the latest are kept. A run alone has at most as many."""
LEFT_OUT = "[an earlier image, left out]"


async def converse(
    journal: Journal, run: Run, runtime: AgentRuntime, context_length: int | None, *, sees: bool = False
) -> Conversation:
    """The conversation that a run continues. A sub-run's conversation consists of its task only.

    Its trail is read only for agents that can change something.

    Args:
        sees: whether the model takes images; otherwise it gets what was read in them.
    """
    attaching = Attaching(journal, budget(context_length), sees)
    past = await _earlier(journal, run) if run.parent is None else []
    runs = [one for one in past if _belongs_to_conversation(one, run)]
    exchanges = [await _exchange(one, runtime, attaching) for one in runs]
    given = await attaching.given(run)
    kept = _with_latest_images([exchange for exchange in exchanges if exchange is not None], given.content)
    toolbox = runtime.hosts.registry
    writes = runtime.subagents or any(name in toolbox and toolbox.get(name).writes for name in runtime.agent.tools)
    trail, seen = Trail(), dict[str, str]()
    if writes:
        root = run if run.parent is None else await journal.get(run.tenant_id, run.parent.callers[0].run_id)
        before = past if root is run else await _earlier(journal, root)
        seen_by_root = frozenset(one.id for one in before if _belongs_to_conversation(one, root))
        trail = await trail_before(journal, run, before, seen_by_root, toolbox)
        unread = len(before) >= RUNS or any(_is_unread(one, root) for one in before)
        trail = replace(trail, unread=trail.unread or unread)
        seen = _answers_before(past, run)
        kept = [replace(exchange, after=seen.get(exchange.run_id, "")) for exchange in kept]
    texts: list[str] = []
    if runtime.guard.policy.document.placeholders is not None:
        texts = [*await texts_before(journal, run, attaching), *input_texts(given)]
    return Conversation(
        instructions=instructions(runtime.agent, run.subject, LocalTime.of(run, runtime.agent)),
        user=given.content,
        readings=given.readings,
        tainted=given.unread or any(exchange.tainted for exchange in kept) or any(before.tainted for before in runs),
        measures=(*(one for exchange in kept for one in exchange.measures), *given.measures),
        examples=runtime.agent.examples,
        planning=runtime.agent.planning,
        earlier=kept,
        began=LocalTime.of(run, runtime.agent),
        after=seen.get(run.id, ""),
        context_length=context_length,
        trail=trail,
        proposal=await proposal_of(journal, past, run, RUNS) if writes else NOTHING,
        texts=tuple(texts),
    )


def instructions(agent: AgentSpec, subject: Subject | None, began: LocalTime | None = None) -> str:
    """The agent's instructions, with the day if the agent has ``today``, and with a word about the subject if there is
    one and the agent has ``signed_in``."""
    told = agent.instructions.strip()
    if agent.today is not None and began is not None:
        told = f"{told}\n{began.line}"
    if subject is None or not agent.signed_in:
        return told

    def value(found: re.Match[str]) -> str:
        known = subject.value(found.group(1))
        return "unknown" if known is None else " ".join(str(known).split())

    return f"{told}\n{PLACE.sub(value, agent.signed_in.strip())}"


async def earlier(journal: Journal, run: Run) -> list[Run]:
    """Earlier runs of the session that the run's model may see, oldest first."""
    if run.parent is not None:
        return []
    return [before for before in await _earlier(journal, run) if _belongs_to_conversation(before, run)]


async def _earlier(journal: Journal, run: Run) -> list[Run]:
    """Earlier runs of the session, oldest first. In a fork, those of its origin come first."""
    page = await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, after=run.id, limit=RUNS)
    found = page.data[::-1]
    first = found[0] if found else run
    if first.origin is not None and not page.has_more:
        found = [*await _earlier(journal, await journal.get(run.tenant_id, first.origin.run_id)), *found]
    return found[-RUNS:]


def _belongs_to_conversation(before: Run, run: Run) -> bool:
    """Whether an earlier run belongs to the conversation: it had ended when ``run`` first started, and was not blocked,
    so that a blocked input can't reach the model in the next run."""
    return before.status is not RunStatus.BLOCKED and had_ended(before, run)


def _is_unread(before: Run, run: Run) -> bool:
    """Whether the trail lacks what an earlier run has read, although answers after it may tell of it: it was erased, or
    is at work again. No later run has seen the answer of a blocked one."""
    if before.status is RunStatus.BLOCKED:
        return False
    return before.erased_at is not None or not _belongs_to_conversation(before, run)


def _answers_before(before: Sequence[Run], run: Run) -> dict[str, str]:
    """By run id, the answer that the user had read last before writing that run's input.

    Runs without one are left out: the run before was blocked, or was still going on. Empty for long sessions: the
    sources of their first answers, which later ones may repeat, are not read.
    """
    if len(before) >= RUNS:
        return {}
    pairs = pairwise([*before, run])
    return {
        one.id: text_of(last.output or [])
        for last, one in pairs
        if _belongs_to_conversation(last, run) and _had_seen(last, one)
    }


def _had_seen(last: Run, one: Run) -> bool:
    return last.ended_at is not None and last.ended_at <= one.created_at


def _with_latest_images(exchanges: Sequence[Exchange], content: Sequence[Part]) -> list[Exchange]:
    """The exchanges with the latest images that a prompt has room for beside those of the run's own content."""
    room = MOST_IMAGES - sum(isinstance(part, ImagePart) for part in content)
    found: list[Exchange] = []
    for exchange in reversed(exchanges):
        attached: list[Part] = []
        for part in reversed(exchange.attached):
            is_image = isinstance(part, ImagePart)
            attached.append(TextPart(text=LEFT_OUT) if is_image and room <= 0 else part)
            room -= is_image
        found.append(replace(exchange, attached=tuple(reversed(attached))))
    return found[::-1]


async def _exchange(run: Run, runtime: AgentRuntime, attaching: Attaching) -> Exchange | None:
    # The journal has the original input; the model gets it as redacted by the current policy.
    # Verdicts on the input were journaled in the earlier run.
    context = GuardContext(run.tenant_id, run.agent, run.session_id, run.id)
    given = await attaching.given(run)
    text = text_of(given.content)
    ruling = await runtime.guard.check(Checked(Stage.INPUT, text, context))
    if ruling.action.severity >= Action.ASK.severity or not keeps_tables(text, ruling.text):
        return None
    rulings = [await runtime.guard.check(one) for one in checked_readings(given.readings, context)]
    read = [TextPart(text=readable(one)) for one in rulings]
    images = [part for part in given.content if isinstance(part, ImagePart)]
    tainted = given.unread or any(one.tainted for one in rulings)
    began = LocalTime.of(run, runtime.agent)
    answer = text_of(run.output or [])
    return Exchange(ruling.text, answer, run.id, (*images, *read), tainted, given.measures, began, agent=run.agent)
