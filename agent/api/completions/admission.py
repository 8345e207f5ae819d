"""Admission of a completion: checks the request before the model gets it, with the guard that also checks runs.

All messages of users (stage ``input``) and all results of tools (stage ``tool_result``) are checked every time, because
the caller sends the whole conversation. System messages are not checked: they are the caller's own instructions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agent.api.auth import Principal
from agent.api.completions.attached import Attached, attached
from agent.api.completions.models import KnownModels
from agent.api.completions.request_size import check_size
from agent.api.deps import ApiDeps
from agent.api.interrupted import refuse_if_interrupted, unless_stopped
from agent.api.vouching import vouched
from agent.attachments.facts import with_figures
from agent.attachments.shown import tables_of, words_of
from agent.loop.attached import TABLES_GONE, image_reads, keeps_tables, table_reads
from agent.model_call.masking import Masking, not_hidden
from agent.run.journal import new_id
from agent.run.ledger import Completion
from flightloop.chat import ChatMessage, ChatRequest, NamedToolChoice, Priority, RequestExtension, Tags, ToolDef
from flightloop.content import TextPart, with_text
from flightloop.errors import FlightloopError, GuardrailBlocked, InvalidRequest
from flightloop.subject import Subject
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.aside import LONG, aside
from guardrails.evidence.acts import only_reads
from guardrails.placeholders.register import Register
from guardrails.text.spelling import most_characters
from guardrails.types import Checked, CheckedCall, GuardContext, Guarding, Past, Read, Ruling, Trail, Write, no_facts
from observability.trace_id import valid_traceparent

AGENT_HEADER = "x-flightloop-agent"
SESSION_HEADER = "x-flightloop-session"
NAME_CHARS = 128
BATCH = 16
BATCH_CHARS = LONG
"""Maximum messages and characters per batch: a few milliseconds of work."""


@dataclass(frozen=True)
class Admitted:
    """A completion that has passed admission."""

    request: ChatRequest
    """The request for the model, with redacted messages and the tools that the policy allows."""
    guard: Guarding
    context: GuardContext
    tags: Tags
    epoch: int
    """Interrupt epoch at admission."""
    specs: Mapping[str, ToolSpec]
    """Tools that the model may call, by name."""
    counting: Completion
    """Owner of the calls that count towards limits over time."""


async def admit(
    deps: ApiDeps, models: KnownModels, request: ChatRequest, caller: Principal, headers: Mapping[str, str]
) -> Admitted:
    """Checks a request and prepares it for the model.

    Raises:
        InvalidRequest: the request is contradictory, empty or too large, or a tool result belongs to no call.
        NotFound: no such model.
        Interrupted: a matching interrupt is active.
        Forbidden: the key may not speak for the request's subject.
        Conflict: the session has runs of another subject.
        GuardrailBlocked: a rail refuses a message, or the policy forbids the tool required by ``tool_choice``.
    """
    await check_size(request, deps.model.capabilities.context_length)
    _consistent(request)
    await models.require(request.model)
    subject = vouched(caller, request.subject)
    tags = await _in_own_session(deps, caller, _tags(request.flightloop.tags, caller, headers, subject))
    epoch = await refuse_if_interrupted(deps, tags.tenant_id, tags.agent, tags.session_id, subject)
    guard = deps.catalogue.guard()
    specs = {tool.function.name: _foreign(tool) for tool in request.tools or []}
    given = await unless_stopped(deps, attached(deps, request.messages, tags.tenant_id, subject), tags, epoch)
    request = request.model_copy(update={"messages": given.messages})
    counting = Completion(new_id("cmpl"), tags.tenant_id, tags.session_id, deps.name, tags.subject)
    used, facts = partial(deps.journal.limits.used, counting), with_figures(no_facts, given.measures)
    context = replace(_context(request, tags, specs, given.readings), subject=subject, used=used, facts=facts)
    checking = _checked_messages(deps, guard, given, context, specs)
    messages, tainted = await unless_stopped(deps, checking, tags, epoch)
    context = replace(context, tainted=tainted, register=await _register(guard, request, messages))
    tools = await _narrowed(guard, request, context)
    extension = RequestExtension(
        # The priority "operator" preempts all tenants' work, so only the deployment's own key may request it.
        priority=request.flightloop.priority if caller.deployment else _usual(request.flightloop.priority),
        tags=tags,
        epoch=epoch,
        call_confidence=request.flightloop.call_confidence,
        opening=request.flightloop.opening,
        never=request.flightloop.never,
        traceparent=valid_traceparent(request.flightloop.traceparent or headers.get("traceparent")),
    )
    admitted = request.model_copy(
        # Claims are not for the model's server.
        update={"messages": messages, "tools": tools, "flightloop": extension, "subject": None}
    )
    offered = {tool.function.name: specs[tool.function.name] for tool in tools or []}
    return Admitted(admitted, guard, context, tags, epoch, offered, counting)


async def _register(guard: Guarding, request: ChatRequest, messages: list[ChatMessage]) -> Register | None:
    """Placeholders of the conversation; the caller sends it whole, so that they stay the same. None: nothing is hidden.

    Raises:
        UnsupportedContent: the policy hides personal data, and the model would get an image.
        GuardrailBlocked: personal data could not be looked for.
    """
    hidden = guard.policy.document.placeholders
    if hidden is None:
        return None
    given = request.model_copy(update={"messages": messages, "tools": None})
    masking = Masking(Register(hidden), given)
    try:
        await aside(sum(len(message.text) for message in messages), masking.request, given)
    except FlightloopError:
        raise
    except Exception as error:
        raise not_hidden(error) from error
    return masking.register


def _usual(priority: Priority) -> Priority:
    return "interactive" if priority == "operator" else priority


def _consistent(request: ChatRequest) -> None:
    parts = (part for message in request.messages for part in message.content)
    if all(isinstance(part, TextPart) and not part.text.strip() for part in parts):
        raise InvalidRequest("messages: all are empty; at least one needs content", param="messages")
    _answer_calls(request.messages)
    names = [tool.function.name for tool in request.tools or []]
    if len(set(names)) < len(names):
        raise InvalidRequest("tools: two tools have the same name", param="tools")
    choice = request.tool_choice
    if choice == "required" and not names:
        raise InvalidRequest("tool_choice: 'required' needs tools: give at least one in 'tools'", param="tool_choice")
    if isinstance(choice, NamedToolChoice) and choice.function.name not in names:
        known = ", ".join(names) or "none"
        raise InvalidRequest(f"tool_choice: no tool {choice.function.name!r}; known: {known}", param="tool_choice")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise InvalidRequest(
            "response_format.json_schema: is missing; type 'json_schema' needs it", param="response_format.json_schema"
        )


def _answer_calls(messages: Sequence[ChatMessage]) -> None:
    """Checks that each tool result belongs to a call before it. Raises InvalidRequest."""
    known: set[str] = set()
    for at, message in enumerate(messages):
        known |= {call.id for call in message.tool_calls or ()}
        if message.role == "tool" and message.tool_call_id not in known:
            raise InvalidRequest(
                f"messages[{at}].tool_call_id: no call before it has the id {message.tool_call_id!r}; send the"
                " assistant's call too",
                param=f"messages[{at}].tool_call_id",
            )


def _tags(given: Tags, caller: Principal, headers: Mapping[str, str], subject: Subject | None) -> Tags:
    """Tags of a completion: the key's tenant, agent, session and subject, no run."""
    agent = _name(AGENT_HEADER, given.agent, headers)
    session = _name(SESSION_HEADER, given.session_id, headers)
    return Tags(tenant_id=caller.tenant_id, agent=agent, session_id=session, subject=subject.id if subject else None)


async def _in_own_session(deps: ApiDeps, caller: Principal, tags: Tags) -> Tags:
    """The tags, without a session that has no run yet if the key is bound: it may become another subject's.

    Raises:
        Conflict: the session has runs of another subject.
    """
    if tags.session_id is None or await deps.journal.check_session(tags.tenant_id, tags.session_id, tags.subject):
        return tags
    return tags.model_copy(update={"session_id": None}) if caller.bound else tags


def _name(header: str, given: str | None, headers: Mapping[str, str]) -> str | None:
    """Name of an agent or session, as an interrupt refers to it. Raises InvalidRequest."""
    name = given or _utf8(headers.get(header, ""))
    if len(name) > NAME_CHARS or not name.isprintable():
        raise InvalidRequest(
            f"the name of an agent or a session must have at most {NAME_CHARS} printable characters", param=header
        )
    return name or None


def _utf8(value: str) -> str:
    """Decodes a header's value as UTF-8, which clients send; the server has decoded it as Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _context(
    request: ChatRequest, tags: Tags, specs: Mapping[str, ToolSpec], readings: Sequence[str] = ()
) -> GuardContext:
    last = max((at for at, message in enumerate(request.messages) if message.role == "user"), default=0)
    before, since = request.messages[:last], request.messages[last:]
    past = Past(writes=_made(before, specs), asked=words_of(since[0].content) if since else "")
    users = [message for message in request.messages if message.role == "user"]
    tables = [table for message in users for table in tables_of(message.content)]

    async def read_past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return past

    return GuardContext(
        tenant_id=tags.tenant_id,
        agent=tags.agent or "",
        session_id=tags.session_id or "",
        instructions=_texts(request, "system", "developer"),
        user_text="\n".join(words_of(message.content) for message in users),
        results=(*readings, *tables, *(message.text for message in request.messages if message.role == "tool")),
        written=tuple(
            f"{call.function.name} {call.function.arguments}"
            for message in request.messages
            for call in message.tool_calls or ()
        ),
        writes=_made(since, specs),
        past=read_past,
        trail=_trail(request.messages, (*image_reads(readings), *table_reads(tables))),
    )


def _texts(request: ChatRequest, *roles: str) -> str:
    return "\n".join(message.text for message in request.messages if message.role in roles)


def _trail(messages: Sequence[ChatMessage], attached: Sequence[Read]) -> Trail:
    """What the conversation's model read and wrote. The caller's tools declare no field as trusted, nor that strangers
    write their results."""
    calls = {call.id: call.function for message in messages for call in message.tool_calls or ()}
    names = {call_id: call.name for call_id, call in calls.items()}
    reads = [
        Read(
            f"message {at}",
            names.get(message.tool_call_id or "", message.name or "a tool"),
            message.text,
            strangers=False,
        )
        for at, message in enumerate(messages)
        if message.role == "tool"
    ]
    return Trail((*attached, *reads), tuple(f"{call.name} {call.arguments}" for call in calls.values()))


def _made(messages: Sequence[ChatMessage], specs: Mapping[str, ToolSpec]) -> tuple[Write, ...]:
    """Calls that have a result and may have changed something. Whether they succeeded is unknown, because callers have
    no common format for errors."""
    answered = {message.tool_call_id for message in messages if message.role == "tool"}
    calls = (call for call_id, call in _calls(messages, specs).items() if call_id in answered)
    return tuple(Write(call.spec.name, call.arguments, ok=True) for call in calls if not only_reads(call.spec))


def _foreign(tool: ToolDef) -> ToolSpec:
    """Spec of a tool that the caller executes: its effect is unknown and its results are untrusted."""
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
        raise GuardrailBlocked(f"the policy forbids the tool of tool_choice; allowed: {allowed}", param="tools")
    return tools or None


async def _checked_messages(
    deps: ApiDeps,
    guard: Guarding,
    given: Attached,
    context: GuardContext,
    specs: Mapping[str, ToolSpec],
) -> tuple[list[ChatMessage], bool]:
    """The messages for the model after redaction, and whether one of them or a reading taints the conversation."""
    messages = given.messages
    calls = _calls(messages, specs)
    to_check = {
        index: checked for index, message in enumerate(messages) if (checked := _to_check(message, context, calls))
    }
    all_rulings = await _rulings(deps, guard, [*to_check.values(), *given.to_check(context)])
    rulings, of_readings = dict(zip(to_check, all_rulings, strict=False)), all_rulings[len(to_check) :]
    verdicts = [verdict for ruling in all_rulings for verdict in ruling.verdicts]
    await deps.journal.record(context.tenant_id, verdicts)
    for index, ruling in rulings.items():
        if ruling.action in (Action.BLOCK, Action.ASK):
            raise GuardrailBlocked(
                f"messages[{index}]: refused by the policy {guard.policy.name}: {ruling.reason}",
                param=f"messages[{index}].content",
            )
    passed_on = [
        _replaced(message, rulings[index]) if index in rulings else message for index, message in enumerate(messages)
    ]
    tainted = given.unread or any(ruling.tainted for ruling in all_rulings)
    return given.for_model(passed_on, of_readings), tainted


async def _rulings(deps: ApiDeps, guard: Guarding, to_check: list[Checked]) -> list[Ruling]:
    """Checks texts and calls in batches, so that the event loop serves other requests in between. A long text gets its
    own batch, because each check has a time limit.

    A single short batch runs at once; all others wait for a turn, because concurrent checks slow each other down.
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
    """Calls of known tools in the conversation, by id."""
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
    """The message with its text as redacted by the rails."""
    if ruling.text == message.text:
        return message
    if message.role == "user" and not keeps_tables(message.text, ruling.text):
        raise GuardrailBlocked(f"a message is refused: {TABLES_GONE}", param="messages")
    return message.model_copy(update={"content": with_text(message.content, ruling.text)})
