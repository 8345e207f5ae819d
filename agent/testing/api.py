"""In-memory API with a scripted model, for tests of the API and of clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.api import ApiDeps
from agent.api.auth import Keyring
from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.models.chat_model import Capabilities
from agent.run.deltas import LocalDeltas
from agent.store import memory_journal
from flightloop.chat import (
    ChatChunk,
    ChatRequest,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionDelta,
    ResponseExtension,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from flightloop.model_card import ModelCard
from flightloop.overview import Overview
from flightloop.runs import AgentInfo, Budget, PolicyInfo, ProjectInfo, Run, ToolInfo
from guardrails.audit_keys import FixedKeys
from guardrails.guard import Guard
from guardrails.policy import Policy, parse_policy, unhurried
from guardrails.types import Guarding
from observability.aggregator import Aggregator
from observability.metrics import Metrics

KEY = "test-key-0123456789"
OTHER_KEY = "other-key-0123456789"
"""Key of the tenant ``other``."""

POLICY = """
name: default
version: "1"
streaming: {streaming}
stages:
  input: {{rails: [normalise, {{rail: terms, terms: [forbidden], action: block}}]}}
  tool_result: {{rails: [{{rail: injection, taint_at: 0.5}}]}}
  stream: {{rails: [normalise, {{rail: terms, terms: [classified], action: block}}, pii]}}
  final: {{rails: [{{rail: terms, terms: [unfit], action: block}}, pii]}}
tools:
  allow: {{"*": [add, pay]}}
  arguments: {{pay: {{amount: {{maximum: 100}}}}}}
refusal: I cannot say that.
"""


@dataclass(frozen=True)
class Said:
    """One scripted answer: reasoning, the words of the text, calls (name, arguments as JSON text), error."""

    text: str = ""
    calls: Sequence[tuple[str, str]] = ()
    gate: asyncio.Event | None = None
    """Event for which the answer waits after its first chunk."""
    error: BaseException | None = None
    logprobs: bool = False
    extension: ResponseExtension | None = None
    finish_reason: FinishReason | None = None
    """None: ``tool_calls`` if there are calls, else ``stop``."""
    reasoning: str = ""


@dataclass
class ScriptedChat:
    """A ``ChatModel`` that gives its answers in order and repeats the last one."""

    answers: list[Said] = field(default_factory=lambda: [Said("ok")])
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(context_length=100))
    requests: list[ChatRequest] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first request that arrives."""
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a stream ends before its answer is complete."""
    running: int = 0
    """Number of open streams."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_running(self, count: int) -> None:
        """Returns once ``count`` streams are open."""
        while self.running != count:
            await self.changed.wait()

    def _run(self, change: int) -> None:
        self.running += change
        self.changed.set()
        self.changed = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        self.requests.append(request)
        self.asked.set()
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        whole = False
        self._run(+1)
        try:
            for number, delta in enumerate(_deltas(said)):
                if number == 1 and said.gate is not None:
                    await said.gate.wait()
                yield _chunk(delta, said)
            if said.error is not None:
                raise said.error
            yield _chunk(Delta(), said, said.finish_reason or ("tool_calls" if said.calls else "stop"))
            whole = True
        finally:
            self._run(-1)
            if not whole:
                self.cut.set()

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="scripted", context_length=self.capabilities.context_length)]


@dataclass(frozen=True)
class FixedCatalogue:
    """A catalogue with one agent, one tool and one policy."""

    policy: Policy
    compiled: Guarding

    def agents(self) -> list[AgentInfo]:
        return [
            AgentInfo(
                name="support",
                model="scripted",
                tools=["add"],
                policy=self.policy.name,
                policy_sha256=self.policy.sha256,
                budget=Budget(steps=5, tokens=1000, seconds=60),
                planning=False,
            )
        ]

    def predictor(self) -> AgentInfo:
        return self.agents()[0].model_copy(update={"name": "predict", "tools": []})

    def tools(self) -> list[ToolInfo]:
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        return [
            ToolInfo(name="add", description="Adds.", parameters=schema, effect="pure", timeout_s=1, permissions=[])
        ]

    def policies(self) -> list[PolicyInfo]:
        return [self.policy.info(datetime.now(UTC))]

    def project(self) -> ProjectInfo:
        return ProjectInfo(loaded_at=datetime.now(UTC))

    def guard(self) -> Guarding:
        return self.compiled

    def guard_of(self, run: Run) -> Guarding:
        return self.compiled


def api_deps(*answers: Said, streaming: str = "held", **overrides: Any) -> ApiDeps:
    """Dependencies of an API whose model gives ``answers``; ``overrides`` are fields of ``ApiDeps``."""
    policy = parse_policy(POLICY.format(streaming=streaming))
    metrics = Metrics("api")
    aggregator = Aggregator()

    async def expose(accept: str) -> tuple[bytes, str]:
        aggregator.ingest(metrics.snapshot())
        return aggregator.expose(accept)

    async def overview(tenant_id: str) -> Overview:
        return Overview(at=datetime.now(UTC))

    journal = memory_journal(poll_s=0.01)
    used = overrides.get("journal", journal)
    fields: dict[str, Any] = {
        "journal": journal,
        "eraser": Eraser(used, used.erasure, Places(Path(os.devnull)), FixedKeys(())),
        "keys": journal.keys,
        "keyring": Keyring({KEY: "default", OTHER_KEY: "other"}, journal.keys),
        "catalogue": FixedCatalogue(policy, Guard(unhurried(policy))),
        "model": ScriptedChat(list(answers) or [Said("ok")]),
        "deltas": LocalDeltas(),
        "metrics": metrics,
        "expose": expose,
        "overview": overview,
        "interrupt_poll_s": 0.005,
        **overrides,
    }
    return ApiDeps(**fields)


def _deltas(said: Said) -> list[Delta]:
    words = said.text.split(" ") if said.text else []
    deltas = [Delta(reasoning_content=piece) for piece in said.reasoning.splitlines(keepends=True)]
    deltas += [Delta(content=word if number == 0 else f" {word}") for number, word in enumerate(words)]
    for index, (name, arguments) in enumerate(said.calls):
        begun = ToolCallDelta(index=index, id=f"call_{index}", type="function", function=FunctionDelta(name=name))
        rest = ToolCallDelta(index=index, function=FunctionDelta(arguments=arguments))
        deltas += [Delta(tool_calls=[begun]), Delta(tool_calls=[rest])]
    return deltas


def _chunk(delta: Delta, said: Said, finish_reason: Any = None) -> ChatChunk:
    logprobs = None
    if said.logprobs and delta.content:
        logprobs = ChoiceLogprobs(content=[TokenLogprob(token=delta.content, logprob=-0.1)])
    choice = ChunkChoice(delta=delta, finish_reason=finish_reason, logprobs=logprobs)
    chunk = ChatChunk(id="chatcmpl-1", created=1, model="scripted", choices=[choice])
    if finish_reason is not None:
        chunk.usage = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
        chunk.flightloop = said.extension
    return chunk
