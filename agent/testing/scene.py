"""A demonstration shop: a platform with two agents, a history of runs, and metrics of all tiers.

Used by the console's tests, and to try the console and clients without a model. A seed determines the history.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from agent.api.auth import DEFAULT_TENANT, Persons
from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import AgentSpec, Limits
from agent.project.project import Project
from agent.run.history import dump
from agent.testing.conversations import (
    BY_QUESTION,
    CONVERSATIONS,
    DELEGATED,
    DELEGATED_REFUND,
    DENIED,
    DENIED_CALL,
    TOOLS,
)
from agent.testing.fakes import AnsweringChatModel
from agent.testing.figures import Figures
from agent.testing.platform import Platform, project_of
from flightloop.chat import ChatRequest, Usage
from flightloop.events import FeedbackGiven, RunCreated
from flightloop.model_card import ModelCard
from flightloop.runs import Feedback, Run, RunStatus
from guardrails.policy import parse_policy

POLICY = """
name: support
version: "3"
description: Refunds above 50 € need a person.
streaming: live
stages:
  input: {rails: [normalise, secrets, {rail: injection, block_at: 0.8}]}
  tool_result: {rails: [normalise, {rail: injection, taint_at: 0.5}]}
  final: {rails: [secrets, pii, groundedness]}
tools:
  allow:
    support:
      - search_customers
      - orders_of
      - order_details
      - customer_note
      - track_parcel
      - pay_back
      - pass_to_colleague
      - ask_returns
    returns: [order_details, pay_back, pass_to_colleague]
  ask: [{tool: pay_back, argument: amount, above: 50, reason: a large refund}]
  lock_to_plan: confirm
  tainted_writes: ask
  harmless: [pass_to_colleague]
egress: {hosts: []}
"""
MODEL = ModelCard(
    id="smollm2-135m-moe",
    context_length=8192,
    parameters=163_000_000,
    active_parameters=139_000_000,
    weights="4 bits, avx512 kernels",
)


class SceneClock:
    """A clock: the current time or, while ``past`` is set, a past time that advances with each reading."""

    past: datetime | None = None

    def __call__(self) -> datetime:
        self.forward(0.03)
        return self.past or datetime.now(UTC)

    def forward(self, seconds: float) -> None:
        if self.past is not None:
            self.past += timedelta(seconds=seconds)


def shop_project() -> Project:
    names = [function.__name__ for function in TOOLS]
    support = AgentSpec(
        name="support",
        description="Helps customers with orders, refunds and deliveries.",
        instructions="Help the customer.",
        tools=tuple(names),
        agents=("returns",),
        escalation=("pass_to_colleague",),
        policy="support",
        budget=Limits(steps=12, tokens=24_000, seconds=180, cost=0.05),
    )
    returns = AgentSpec(
        name="returns",
        description="Decides about returns and books the pick-up.",
        instructions="Decide about the return.",
        tools=("order_details", "pay_back", "pass_to_colleague"),
        escalation=("pass_to_colleague",),
        policy="support",
        budget=Limits(steps=8, tokens=24_000, seconds=180, cost=0.05),
    )
    return project_of([support, returns], TOOLS, [parse_policy(POLICY)])


@contextmanager
def shop(
    runs: int = 36,
    seed: int = 7,
    *,
    tenants: Mapping[str, str] | None = None,
    persons: Persons | None = None,
    port: int = 0,
    pace_s: float = 0.0,
) -> Iterator[Platform]:
    """A platform with a history of ``runs`` runs in the last hours.

    Args:
        tenants: further tenants by API key; each has its own history.
        persons: accepts tokens of persons as keys.
        pace_s: seconds between the words of new answers.
    """
    clock = SceneClock()

    def answer(request: ChatRequest) -> Turn:
        clock.forward(random.Random(len(request.messages)).uniform(0.6, 2.5))
        return _answer(request)

    model = AnsweringChatModel(answer, [MODEL])
    made = Platform(shop_project(), model, figures=Figures(), keys=tenants, persons=persons, clock=clock, port=port)
    with made as platform:
        for index, tenant in enumerate((DEFAULT_TENANT, *(tenants or {}).values())):
            _fill(platform, clock, tenant, runs, random.Random(seed + index))
        clock.past, model.pace_s = None, pace_s
        yield platform


def delegated(platform: Platform, *, waits: bool = False) -> tuple[Run, Run]:
    """Creates a run of the agent ``support``, with a sub-run of the agent ``returns``, and returns both.

    Args:
        waits: whether the sub-run waits for a person's approval; its parent then waits for the sub-run.
    """
    asked = (DELEGATED_REFUND if waits else DELEGATED).asked
    parent = platform.do(platform.journal.create(_created(asked, "support", "ses_family"))).run
    if not waits:
        parent = platform.settled(parent.id)
    child = platform.settled(_child(platform, parent).id)
    return platform.do(platform.journal.get(DEFAULT_TENANT, parent.id)), child


def _child(platform: Platform, parent: Run) -> Run:
    async def found() -> Run:
        journal, seen = platform.journal, 0
        while not (page := await journal.runs(DEFAULT_TENANT, parent=parent.id)).data:
            await journal.wait(parent.id, seen, 1.0)
            seen = (await journal.get(DEFAULT_TENANT, parent.id)).last_seq
        return page.data[0]

    return platform.do(found())


def _fill(platform: Platform, clock: SceneClock, tenant: str, runs: int, chance: random.Random) -> None:
    usual, asks = CONVERSATIONS[0], next(one for one in CONVERSATIONS if one.waits)
    for index in range(runs):
        clock.past = datetime.now(UTC) - timedelta(minutes=4 * (runs - index) + chance.uniform(0, 3))
        (drawn,) = chance.choices(CONVERSATIONS, weights=[one.weight for one in CONVERSATIONS])
        drawn = CONVERSATIONS[index] if index < len(CONVERSATIONS) else drawn  # first each of them
        if drawn.waits or index == runs - 3:  # approvals wait in the latest runs only
            drawn = asks if index >= runs - 3 else usual
        created = _created(drawn.asked, drawn.agent, f"ses_{chance.getrandbits(32):08x}", tenant)
        run = platform.settled(platform.do(platform.journal.create(created)).run.id, tenant)
        if run.status is RunStatus.SUCCEEDED and chance.random() < 0.4:
            given = Feedback(score=chance.choice((3, 4, 5, 5)), resolved=True)
            platform.do(platform.journal.append(run.id, [FeedbackGiven(feedback=given, step=run.usage.steps)]))


def _created(asked: str, agent: str, session_id: str, tenant: str = DEFAULT_TENANT) -> RunCreated:
    project = shop_project()
    spec = project.agent(agent)
    return RunCreated.model_validate(
        {
            "agent": agent,
            "session_id": session_id,
            "tenant_id": tenant,
            "input": asked,
            "budget": spec.budget.budget(),
            "policy_sha256": project.policy_of(spec).sha256,
        }
    )


def _answer(request: ChatRequest) -> Turn:
    """The model's next turn in the conversation that began with the last known question."""
    asked = [index for index, message in enumerate(request.messages) if message.text in BY_QUESTION]
    found = BY_QUESTION[request.messages[asked[-1]].text] if asked else CONVERSATIONS[0]
    since = request.messages[asked[-1] :] if asked else []
    results = [message.text for message in since if message.role == "tool"]
    chance = random.Random(f"{found.asked}{len(since)}")
    if request.response_format is not None:
        goal = found.asked.split("?")[0][:80]
        return _said([dump({"goal": goal, "tools": sorted({name for name, _ in found.calls})})], chance)
    if request.tools and any("denied" in result for result in results):
        handed_over = since[-1].name == "pass_to_colleague"
        return _said(_pieces(DENIED), chance) if handed_over else calls(DENIED_CALL)
    if request.tools and len(results) < len(found.calls):
        return calls(found.calls[len(results)])
    return _said(_pieces(found.answer), chance)


def _said(pieces: list[str], chance: random.Random) -> Turn:
    prompt, completion = chance.randint(400, 1400), 2 * len(pieces)
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
    return text(*pieces, usage=usage, confidence=chance.uniform(0.62, 0.97))


def _pieces(answer: str) -> list[str]:
    """Splits a text into words; joined, they give the text."""
    return [word if index == 0 else f" {word}" for index, word in enumerate(answer.split(" "))]
