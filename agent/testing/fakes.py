"""Stand-ins for the model, the guard and the tool hosts: for tests, and for trying a project without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.models.chat_model import Capabilities
from agent.run.history import dump
from flightloop.chat import (
    ChatChunk,
    ChatRequest,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionDelta,
    ModelCard,
    ResponseExtension,
    ToolCallDelta,
    ToolDef,
    Usage,
)
from flightloop.tool import Tool, ToolContext, ToolRefused
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.policy import Policy, default_policy
from guardrails.types import GuardContext, Ruling, Subject, severest
from tools.host import ToolOutcome
from tools.registry import Registry
from tools.tracebacks import traceback_of
from tools.validated import known_by

Turn = list[ChatChunk | Exception | Awaitable[None]]
"""One answer: chunks in order; an exception is raised at its place, an awaitable is waited for."""


def text(*pieces: str, finish: FinishReason = "stop", usage: Usage | None = None, confidence: float = 0.9) -> Turn:
    """An answer in words, one chunk a piece."""
    return [
        *(_chunk(Delta(content=piece)) for piece in pieces),
        _last(finish, usage or _usage(len(pieces)), confidence),
    ]


def plan(goal: str, *tools: str) -> Turn:
    return text(dump({"goal": goal, "tools": list(tools)}))


def calls(*wanted: tuple[str, dict[str, Any] | str]) -> Turn:
    """Tool calls by name and arguments (a string is sent as it is, valid or not)."""
    deltas = [
        ToolCallDelta(
            index=index,
            id=f"c{index}",
            type="function",
            function=FunctionDelta(name=name, arguments=given if isinstance(given, str) else dump(given)),
        )
        for index, (name, given) in enumerate(wanted)
    ]
    return [_chunk(Delta(tool_calls=deltas)), _last("tool_calls", _usage(10), 0.8)]


def _chunk(delta: Delta) -> ChatChunk:
    return ChatChunk(id="fake", created=0, model="fake", choices=[ChunkChoice(delta=delta)])


def _last(finish: FinishReason, usage: Usage, confidence: float) -> ChatChunk:
    choice = ChunkChoice(finish_reason=finish)
    told = ResponseExtension(confidence=confidence)
    return ChatChunk(id="fake", created=0, model="fake", choices=[choice], usage=usage, flightloop=told)


def _usage(completion: int, prompt: int = 20) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


class ScriptExhausted(Exception):
    """The model was asked more often than the script has turns."""


class ScriptedChatModel:
    """Answers the n-th request with the n-th turn of a script and keeps the requests."""

    def __init__(self, script: Iterable[Turn], capabilities: Capabilities | None = None) -> None:
        self._script = list(script)
        self._capabilities = capabilities or Capabilities()
        self.requests: list[ChatRequest] = []

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        if len(self.requests) >= len(self._script):
            raise ScriptExhausted(f"request {len(self.requests) + 1} of a script of {len(self._script)} turns")
        turn = self._script[len(self.requests)]
        self.requests.append(request)
        for entry in turn:
            if isinstance(entry, Exception):
                raise entry
            if isinstance(entry, ChatChunk):
                yield entry
                await asyncio.sleep(0)
            else:
                await entry

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="fake", context_length=self._capabilities.context_length)]


Rule = Callable[[Subject], Action | str | None]
"""None: nothing to say. An action, or the text to go on with (a redaction)."""


@dataclass
class PlainStream:
    """Releases every piece at once."""

    context: GuardContext

    def push(self, text: str) -> str:
        return text

    def finish(self) -> str:
        return ""

    def ruling(self) -> Ruling:
        return Ruling(Action.ALLOW, "", None, (), "", self.context.tainted)


class RuleGuard:
    """A guard of plain functions: the severest of their actions holds, each gives a verdict."""

    def __init__(self, *rules: Rule, policy: Policy | None = None) -> None:
        self._rules = rules
        self.policy = policy or default_policy()
        self.subjects: list[Subject] = []

    async def check(self, subject: Subject) -> Ruling:
        self.subjects.append(subject)
        said = [answer for answer in (rule(subject) for rule in self._rules) if answer is not None]
        replaced = [answer for answer in said if not isinstance(answer, Action)]
        actions = [answer if isinstance(answer, Action) else Action.REDACT for answer in said]
        if subject.call and subject.call.args_sha256 in subject.context.approved_args:
            actions = [Action.ALLOW if action is Action.ASK else action for action in actions]
        reason = "; ".join(f"the rule says {action}" for action in actions if action is not Action.ALLOW)
        verdicts = tuple(
            Verdict(action=action, rail="rule", stage=subject.stage, policy_sha256=self.policy.sha256)
            for action in actions or [Action.ALLOW]
        )
        arguments = subject.call.arguments if subject.call else None
        replacement = replaced[-1] if replaced else subject.text
        return Ruling(severest(actions), replacement, arguments, verdicts, reason, subject.context.tainted)

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        return list(tools)

    def stream(self, context: GuardContext) -> PlainStream:
        return PlainStream(context)


def on(stage: Stage, answer: Action | str, *, tool: str | None = None) -> Rule:
    """A rule for one stage, and for one tool if it is named."""

    def rule(subject: Subject) -> Action | str | None:
        named = tool is None or (subject.call is not None and subject.call.spec.name == tool)
        return answer if subject.stage is stage and named else None

    return rule


@dataclass
class LocalHosts:
    """Runs tools in this process: plain functions in a thread, coroutines in the loop."""

    tools: Sequence[Tool]
    attempts: list[tuple[str, str]] = field(default_factory=list)
    """Tool and key of every call that was begun."""
    killed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(self.tools)
        self._calls: dict[asyncio.Task[Any], str] = {}

    async def __aenter__(self) -> LocalHosts:
        return self

    async def close(self) -> None:
        pass

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        tool = self.registry.tool(name)
        self.attempts.append((name, context.key))
        given = {tool.context_parameter: context, **arguments} if tool.context_parameter else arguments
        try:
            if asyncio.iscoroutinefunction(tool.function):
                return await self._in_loop(tool.function(**given), context.run_id)
            return ToolOutcome(True, await asyncio.to_thread(tool.function, **given))
        except ToolRefused as refused:
            return ToolOutcome(False, error=str(refused))
        except Exception as error:
            told = traceback_of(error, tool.function)
            return ToolOutcome(False, error=f"{type(error).__name__}: {error}", traceback=told, uncertain=True)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return known_by(self.registry.tool(name), arguments, context, 64 * 1024)

    async def kill(self, run_id: str) -> int:
        """Ends a run's coroutines; what goes on in a thread can't be ended."""
        self.killed.append(run_id)
        calls = [call for call, owner in self._calls.items() if owner == run_id]
        for call in calls:
            call.cancel()
        return len(calls)

    async def _in_loop(self, work: Coroutine[Any, Any, Any], run_id: str) -> ToolOutcome:
        call = asyncio.create_task(work)
        self._calls[call] = run_id
        try:
            return ToolOutcome(True, await call)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return ToolOutcome(False, error="the call was stopped", killed=True)
        finally:
            del self._calls[call]
