"""What a chat completion passes before the model sees it: the same guard as a run's input.

Checked are the words of users (stage ``input``) and the results of tools (stage ``tool_result``), all of
them, since the caller sends the whole conversation each time. System messages are the caller's own
instructions, as an agent's are its author's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from agent.api.auth import Principal
from agent.api.completions.models import KnownModels
from agent.api.completions.request_size import check_size
from agent.api.deps import ApiDeps
from agent.api.interrupted import refuse_if_interrupted, unless_stopped
from flightloop.chat import ChatMessage, ChatRequest, NamedToolChoice, RequestExtension, Tags, ToolDef
from flightloop.content import TextPart, with_text
from flightloop.errors import GuardrailBlocked, InvalidRequest
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.aside import LONG
from guardrails.rails.acts import only_reads
from guardrails.spelling import most_characters
from guardrails.types import Checked, CheckedCall, GuardContext, Guarding, Past, Ruling, Write
from observability.trace_id import valid_traceparent

AGENT_HEADER = "x-flightloop-agent"
SESSION_HEADER = "x-flightloop-session"
NAME_CHARS = 128
BATCH = 16
BATCH_CHARS = LONG
"""Messages that are checked at once, and their characters: some milliseconds of work."""


@dataclass(frozen=True)
class Admitted:
    """A completion that may begin. ``request`` is what the model gets; ``specs`` the tools it may call."""

    request: ChatRequest
    guard: Guarding
    context: GuardContext
    tags: Tags
    epoch: int
    specs: Mapping[str, ToolSpec]


async def admit(
    deps: ApiDeps, models: KnownModels, request: ChatRequest, caller: Principal, headers: Mapping[str, str]
) -> Admitted:
    """
    Raises:
        InvalidRequest: the request contradicts itself, is empty, or too large to be worked on.
        NotFound: no such model.
        Interrupted: a matching interrupt is latched.
        GuardrailBlocked: a rail refuses a message, or the policy the tool that must be called.
    """
    await check_size(request, deps.model.capabilities.context_length)
    _consistent(request)
    await models.require(request.model)
    tags = _tags(request.flightloop.tags, caller, headers)
    epoch = await refuse_if_interrupted(deps, tags.tenant_id, tags.agent, tags.session_id)
    guard = deps.catalogue.guard()
    specs = {tool.function.name: _foreign(tool) for tool in request.tools or []}
    context = _context(request, tags, specs)
    checking = _checked_messages(deps, guard, request.messages, context, specs)
    messages, tainted = await unless_stopped(deps, checking, tags, epoch)
    context = replace(context, tainted=tainted)
    tools = await _narrowed(guard, request, context)
    extension = RequestExtension(
        priority=request.flightloop.priority,
        tags=tags,
        epoch=epoch,
        traceparent=valid_traceparent(request.flightloop.traceparent or headers.get("traceparent")),
    )
    admitted = request.model_copy(update={"messages": messages, "tools": tools, "flightloop": extension})
    offered = {tool.function.name: specs[tool.function.name] for tool in tools or []}
    return Admitted(admitted, guard, context, tags, epoch, offered)


def _consistent(request: ChatRequest) -> None:
    if not any(message.content for message in request.messages) or not any(
        part.text.strip() if isinstance(part, TextPart) else True
        for message in request.messages
        for part in message.content
    ):
        raise InvalidRequest("messages: are all empty; say something", param="messages")
    names = [tool.function.name for tool in request.tools or []]
    if len(set(names)) < len(names):
        raise InvalidRequest("tools: two have the same name", param="tools")
    choice = request.tool_choice
    if choice == "required" and not names:
        raise InvalidRequest("tool_choice: 'required' needs tools", param="tool_choice")
    if isinstance(choice, NamedToolChoice) and choice.function.name not in names:
        known = ", ".join(names) or "none"
        raise InvalidRequest(f"tool_choice: names {choice.function.name!r}; tools: {known}", param="tool_choice")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise InvalidRequest(
            "response_format.json_schema: is missing, type 'json_schema' needs it", param="response_format.json_schema"
        )


def _tags(given: Tags, caller: Principal, headers: Mapping[str, str]) -> Tags:
    """Whom the completion belongs to: the tenant is the key's, and a completion belongs to no run."""
    agent = _name(AGENT_HEADER, given.agent, headers)
    session = _name(SESSION_HEADER, given.session_id, headers)
    return Tags(tenant_id=caller.tenant_id, agent=agent, session_id=session)


def _name(header: str, given: str | None, headers: Mapping[str, str]) -> str | None:
    """The name of an agent or a session, as an interrupt will write it. Raises InvalidRequest."""
    name = given or _utf8(headers.get(header, ""))
    if len(name) > NAME_CHARS or not name.isprintable():
        raise InvalidRequest(
            f"the name of an agent or a session has at most {NAME_CHARS} printable characters", param=header
        )
    return name or None


def _utf8(value: str) -> str:
    """A header's value, which the server reads as Latin-1, as clients write it."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _context(request: ChatRequest, tags: Tags, specs: Mapping[str, ToolSpec]) -> GuardContext:
    last = max((at for at, message in enumerate(request.messages) if message.role == "user"), default=0)
    before, since = request.messages[:last], request.messages[last:]
    past = Past(writes=_made(before, specs), asked=since[0].text if since else "")

    async def read_past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return past

    return GuardContext(
        tenant_id=tags.tenant_id,
        agent=tags.agent or "",
        session_id=tags.session_id or "",
        user_text="\n".join(message.text for message in request.messages if message.role == "user"),
        results=tuple(message.text for message in request.messages if message.role == "tool"),
        written=tuple(
            f"{call.function.name} {call.function.arguments}"
            for message in request.messages
            for call in message.tool_calls or ()
        ),
        writes=_made(since, specs),
        past=read_past,
    )


def _made(messages: Sequence[ChatMessage], specs: Mapping[str, ToolSpec]) -> tuple[Write, ...]:
    """Calls that have an answer, and may have changed something. Whether they did is not known: callers say "error" in
    words of their own."""
    answered = {message.tool_call_id for message in messages if message.role == "tool"}
    calls = (call for call_id, call in _calls(messages, specs).items() if call_id in answered)
    return tuple(Write(call.spec.name, call.arguments, ok=True) for call in calls if not only_reads(call.spec))


def _foreign(tool: ToolDef) -> ToolSpec:
    """A tool that the caller performs itself: nothing is known of its effect or of who wrote its results."""
    function = tool.function
    return ToolSpec(function.name, function.description, function.parameters, Effect.UNSAFE, returns_untrusted=True)


async def _narrowed(guard: Guarding, request: ChatRequest, context: GuardContext) -> list[ToolDef] | None:
    if not request.tools:
        return None
    tools = await guard.narrow(request.tools, context)
    names = [tool.function.name for tool in tools]
    choice = request.tool_choice
    forbidden = isinstance(choice, NamedToolChoice) and choice.function.name not in names
    if forbidden or (choice == "required" and not names):
        allowed = ", ".join(names) or "none"
        raise GuardrailBlocked(f"the policy forbids the tool that must be called; allowed: {allowed}", param="tools")
    return tools or None


async def _checked_messages(
    deps: ApiDeps,
    guard: Guarding,
    messages: list[ChatMessage],
    context: GuardContext,
    specs: Mapping[str, ToolSpec],
) -> tuple[list[ChatMessage], bool]:
    """The messages after redaction, and whether one of them taints what follows."""
    calls = _calls(messages, specs)
    to_check = {
        index: checked for index, message in enumerate(messages) if (checked := _to_check(message, context, calls))
    }
    rulings = dict(zip(to_check, await _rulings(deps, guard, list(to_check.values())), strict=True))
    verdicts = [verdict for ruling in rulings.values() for verdict in ruling.verdicts]
    await deps.journal.record(context.tenant_id, verdicts)
    for index, ruling in rulings.items():
        if ruling.action in (Action.BLOCK, Action.ASK):
            raise GuardrailBlocked(
                f"messages[{index}]: refused by the policy {guard.policy.name}: {ruling.reason}",
                param=f"messages[{index}].content",
            )
    checked = [
        _replaced(message, rulings[index]) if index in rulings else message for index, message in enumerate(messages)
    ]
    return checked, any(ruling.tainted for ruling in rulings.values())


async def _rulings(deps: ApiDeps, guard: Guarding, to_check: list[Checked]) -> list[Ruling]:
    """In batches, between which the event loop serves others. A long text is one of its own, as its time is bounded.

    Only what is one short batch waits for no turn: of many, each would take its time from the others.
    """
    rulings: list[Ruling] = []
    batches = list(_batches(to_check))
    short = len(batches) == 1 and sum(map(_characters, to_check)) < LONG
    for batch in batches:
        async with nullcontext() if short else deps.long_checks.one(batch[0].context.tenant_id):
            rulings += await asyncio.gather(*map(guard.check, batch))
        await asyncio.sleep(0)
    return rulings


def _batches(to_check: list[Checked]) -> Iterator[list[Checked]]:
    batch: list[Checked] = []
    characters = 0
    for checked in to_check:
        if batch and (len(batch) == BATCH or characters + _characters(checked) > BATCH_CHARS):
            yield batch
            batch, characters = [], 0
        batch.append(checked)
        characters += _characters(checked)
    if batch:
        yield batch


def _characters(checked: Checked) -> int:
    return most_characters(checked.text)


def _to_check(message: ChatMessage, context: GuardContext, calls: Mapping[str, CheckedCall]) -> Checked | None:
    if message.role == "user":
        return Checked(Stage.INPUT, message.text, context)
    if message.role == "tool":
        call = calls.get(message.tool_call_id or "")
        if call is None:
            unknown = ToolSpec(message.name or "unknown", "", {"type": "object"}, Effect.UNSAFE, returns_untrusted=True)
            call = CheckedCall(message.tool_call_id or "", unknown, {})
        return Checked(Stage.TOOL_RESULT, message.text, context, call)
    return None


def _calls(messages: Iterable[ChatMessage], specs: Mapping[str, ToolSpec]) -> dict[str, CheckedCall]:
    """The calls in the conversation so far whose tools are known, by their id."""
    found: dict[str, CheckedCall] = {}
    for message in messages:
        for call in message.tool_calls or []:
            spec = specs.get(call.function.name)
            if spec is not None:
                try:
                    arguments: dict[str, Any] = call.function.parsed()
                except ValueError:
                    arguments = {}
                found[call.id] = CheckedCall(call.id, spec, arguments)
    return found


def _replaced(message: ChatMessage, ruling: Ruling) -> ChatMessage:
    """The message with the text that the rails left."""
    if ruling.text == message.text:
        return message
    return message.model_copy(update={"content": with_text(message.content, ruling.text)})
