"""A platform with one agent, and a model that plans and then says the last message again."""

from collections.abc import Iterator

import pytest

from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import AgentSpec, Limits
from agent.project.project import Project
from agent.run.history import dump
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from flightloop import AsyncFlightloop, Flightloop
from flightloop.chat import ChatRequest, Usage
from flightloop.model_card import ModelCard
from flightloop.tool import tool
from guardrails.policy import parse_policy
from tests.faulty_proxy import FaultyProxy

POLICY = """
name: p
version: "1"
streaming: live
stages:
  input: {rails: []}
  plan: {rails: []}
  tool_call: {rails: []}
  tool_result: {rails: []}
  stream: {rails: []}
  final: {rails: []}
tools:
  provenance: allow
  allow: {"*": [find, refund]}
  ask: [{tool: refund, reason: a refund needs a person}]
  lock_to_plan: "off"
"""


@tool(effect="pure")
def find(order: str) -> str:
    """Finds an order."""
    return order


@tool(effect="transactional")
def refund(note: str, order: str) -> dict[str, float]:
    """Pays an order back."""
    return {"refunded": 12.5}


def spec(name: str = "support") -> AgentSpec:
    budget = Limits(steps=8)
    return AgentSpec(name=name, instructions="Help.", tools=("find", "refund"), policy="p", budget=budget)


def project(*agents: AgentSpec) -> Project:
    return project_of(agents, [find, refund], [parse_policy(POLICY)])


def said(*pieces: str, confidence: float) -> Turn:
    return text(*pieces, usage=Usage(), confidence=confidence)


def plan(*tools: str) -> Turn:
    return said(dump({"goal": "help", "tools": tools}), confidence=0.5)


def answer(request: ChatRequest) -> Turn:
    """An agent's model plans and answers; a completion's says the last message again."""
    if request.response_format is not None and request.tools:
        return plan("find")
    if request.tools:
        return said("All ", "done.", confidence=0.7)
    first, *rest = request.messages[-1].text.split(" ")
    return said(first, *(f" {word}" for word in rest), confidence=0.7)


def asks_for_refund(request: ChatRequest) -> Turn:
    """The agent's model: a refund, which a person has to allow, and the answer."""
    if request.response_format is not None:
        return plan("refund")
    if request.messages[-1].role == "tool":
        return said("Refunded.", confidence=0.7)
    return calls(("refund", {"note": "so it is " * 60, "order": "A-1"}))


@pytest.fixture
def platform() -> Iterator[Platform]:
    model = AnsweringChatModel(answer, [ModelCard(id="m"), ModelCard(id="qwen2.5-coder-0.5b-instruct-moe")])
    with Platform(project(spec()), model) as running:
        yield running


@pytest.fixture
def proxy(platform: Platform) -> Iterator[FaultyProxy]:
    with FaultyProxy(platform.url) as running:
        yield running


@pytest.fixture
def client(proxy: FaultyProxy, platform: Platform) -> Iterator[Flightloop]:
    with Flightloop(proxy.url, platform.api_key) as found:
        yield found


@pytest.fixture
async def async_client(platform: Platform):
    async with AsyncFlightloop(platform.url, platform.api_key) as found:
        yield found
