"""Fakes of model, guard and tool hosts, for tests and for trying a project without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.models.answer_chunks import Turn
from agent.models.chat_model import Capabilities
from flightloop.chat import (
    ChatChunk,
    ChatRequest,
    ToolDef,
)
from flightloop.model_card import ModelCard
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.policy import Policy, default_policy
from guardrails.types import Checked, GuardContext, Ruling, severest


class ScriptExhausted(Exception):
    """The model got more requests than the script has turns."""


class ScriptedChatModel:
    """A model that answers the n-th request with the n-th turn of a script, and records all requests."""

    def __init__(self, script: Iterable[Turn], capabilities: Capabilities | None = None) -> None:
        self._script = list(script)
        self._capabilities = capabilities or Capabilities()
        self.requests: list[ChatRequest] = []

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        if len(self.requests) >= len(self._script):
            raise ScriptExhausted(f"request {len(self.requests) + 1}, but the script has {len(self._script)} turns")
        turn = self._script[len(self.requests)]
        self.requests.append(request)
        async for chunk in _played(turn):
            yield chunk

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="fake", context_length=self._capabilities.context_length)]


@dataclass
class AnsweringChatModel:
    """A model whose answer is a function of the request."""

    answer: Callable[[ChatRequest], Turn]
    cards: Sequence[ModelCard] = (ModelCard(id="fake"),)
    """Models to list; agents use the first one."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    pace_s: float = 0.0
    """Seconds between two chunks."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        async for chunk in _played(self.answer(request), self.pace_s):
            yield chunk

    async def models(self) -> list[ModelCard]:
        return list(self.cards)


async def _played(turn: Turn, pace_s: float = 0.0) -> AsyncIterator[ChatChunk]:
    for entry in turn:
        if isinstance(entry, Exception):
            raise entry
        if isinstance(entry, ChatChunk):
            yield entry
            await asyncio.sleep(pace_s)
        else:
            await entry


Rule = Callable[[Checked], Action | str | None]
"""Checks a text or call. Returns an action, a replacement text (a redaction), or None for no opinion."""


@dataclass
class PlainStream:
    """Stream filter that releases each piece of text immediately."""

    context: GuardContext

    def push(self, text: str) -> str:
        return text

    def finish(self) -> str:
        return ""

    def ruling(self) -> Ruling:
        return Ruling(Action.ALLOW, "", None, (), "", self.context.tainted)


class RuleGuard:
    """A guard made of rules. The severest of their actions applies, and each action produces a verdict."""

    def __init__(self, *rules: Rule, policy: Policy | None = None) -> None:
        self._rules = rules
        self.policy = policy or default_policy()
        self.checked: list[Checked] = []

    async def check(self, checked: Checked) -> Ruling:
        self.checked.append(checked)
        said = [answer for answer in (rule(checked) for rule in self._rules) if answer is not None]
        replaced = [answer for answer in said if not isinstance(answer, Action)]
        actions = [answer if isinstance(answer, Action) else Action.REDACT for answer in said]
        if checked.call and checked.call.args_sha256 in checked.context.approved_args:
            actions = [Action.ALLOW if action is Action.ASK else action for action in actions]
        reason = "; ".join(f"the rule says {action}" for action in actions if action is not Action.ALLOW)
        verdicts = tuple(
            Verdict(action=action, rail="rule", stage=checked.stage, policy_sha256=self.policy.sha256)
            for action in actions or [Action.ALLOW]
        )
        arguments = checked.call.arguments if checked.call else None
        replacement = replaced[-1] if replaced else checked.text
        return Ruling(severest(actions), replacement, arguments, verdicts, reason, checked.context.tainted)

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        return list(tools)

    def stream(self, context: GuardContext) -> PlainStream:
        return PlainStream(context)


def on(stage: Stage, answer: Action | str, *, tool: str | None = None) -> Rule:
    """Makes a rule that returns ``answer`` in one stage, and optionally only for one tool."""

    def rule(checked: Checked) -> Action | str | None:
        named = tool is None or (checked.call is not None and checked.call.spec.name == tool)
        return answer if checked.stage is stage and named else None

    return rule
