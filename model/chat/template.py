"""A checkpoint's own chat template: Jinja, in a sandbox, with the variables and filters that Hugging Face gives it.

Names of special tokens in messages stay plain text: before rendering, a character that occurs nowhere else is put
into each of them, and it is removed again from the rendered text. So only the template itself can end a turn.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flightloop.chat import ChatMessage, ChatRequest
from flightloop.errors import ConfigError, ContextTooLong, InvalidRequest
from model.chat.calls import CallFormat
from model.chat.content import content_text
from model.chat.conversation import Piece
from model.chat.hints import PLAN_NAME, plan_hint, schema_hint
from model.chat.reasoning import CLOSE, OPEN
from model.weights.tokenizer import Tokenizer

_SEPARATORS = range(0xF0000, 0xFFFFD)
"""Characters for private use, one of which separates the letters of a special token's name."""


class ChatTemplate:
    """Writes conversations as a checkpoint's template says.

    Args:
        source: the template.
        tokenizer: the checkpoint's tokenizer.
        calls: how the model writes calls.

    Attributes:
        reasons: whether its answers may begin with reasoning.
        begins_reasoning: whether its prompts end with the tag that opens it.

    Raises:
        ConfigError: the template is invalid.
    """

    shows_plans = False

    def __init__(self, source: str, tokenizer: Tokenizer, calls: CallFormat) -> None:
        self.calls = calls
        self.reasons = CLOSE in source
        self._tokenizer = tokenizer
        self._takes_tools = "tools" in source
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise ConfigError(f"the model's chat template is invalid: {error}", param="model") from error
        self.begins_reasoning = self.reasons and self._begins_reasoning()

    def render(self, request: ChatRequest) -> str:
        """The prompt as text, for people to read. The model gets the ids of `encode`."""
        separator = _separator(request)
        return self._rendered(request, separator).replace(separator, "")

    def encode(self, request: ChatRequest, limit: int) -> list[int]:
        """The prompt as token ids.

        Args:
            request: only its messages, tools, tool choice and response format are used.
            limit: maximum number of tokens of prompt and answer together.

        Raises:
            UnsupportedContent: a content part is neither text nor a table.
            InvalidRequest: the template refuses the messages.
            ContextTooLong: the prompt leaves no room for an answer.
        """
        separator = _separator(request)
        ids = self._ids(self._rendered(request, separator), separator)
        if len(ids) >= limit:
            raise ContextTooLong.of(limit, f"the conversation has {len(ids)} and leaves no room for an answer")
        return ids

    def conversation(self, request: ChatRequest, answers: Collection[int]) -> list[Piece]:
        """See `model.chat.format.ChatFormat`. Plans in the middle are left out, as in prompts."""
        separator, end = _separator(request), self._name(self._tokenizer.eos_id)
        pieces: list[Piece] = []
        written = ""
        for index, message in enumerate(request.messages):
            last = index == len(request.messages) - 1
            if index not in answers or (message.name == PLAN_NAME and not last):
                continue
            asked = request.model_copy(update={"messages": request.messages[:index]})
            before, text = self._rendered(asked, separator), self._rendered(asked, separator, message)
            if not (before.startswith(written) and text.startswith(before)):
                raise ValueError(f"messages[{index}]: the chat template writes the answer in another way than it asks")
            answer, found, _ = text[len(before) :].partition(end)
            if not found:
                raise ValueError(f"messages[{index}]: the chat template doesn't end the answer by {end!r}")
            pieces.append(Piece(tuple(self._ids(before[len(written) :], separator))))
            pieces.append(Piece(tuple(self._ids(answer + end, separator)), index))
            written = before + answer + end
        return pieces

    def _begins_reasoning(self) -> bool:
        """Whether the template opens the reasoning of the answer."""
        try:
            request = ChatRequest(model="", messages=[ChatMessage(role="user", content="?")])
            return self.render(request).rstrip().endswith(OPEN)
        except InvalidRequest:
            return False

    def _ids(self, text: str, separator: str) -> list[int]:
        ids: list[int] = []
        for part in self._tokenizer.split(text):
            if part in self._tokenizer.special:
                ids.append(self._tokenizer.special[part])
            else:
                ids += self._tokenizer.encode(part.replace(separator, ""))
        return ids

    def _rendered(self, request: ChatRequest, separator: str, answer: ChatMessage | None = None) -> str:
        """The text of a prompt, or of the conversation with its answer, with the separator in names of special tokens
        that messages contain."""
        messages = list(_messages(request))
        if answer is not None:
            messages += _turn(answer, content_text(answer, len(request.messages)), {})
        tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in request.tools or []]
        apart = {name: name[0] + separator + name[1:] for name in self._tokenizer.special if len(name) > 1}
        try:
            text = self._template.render(
                messages=_changed(messages, apart),
                tools=_changed(tools, apart) or None,
                add_generation_prompt=answer is None,
                bos_token=self._name(self._tokenizer.bos_id),
                eos_token=self._name(self._tokenizer.eos_id),
                pad_token=self._name(self._tokenizer.pad_id),
                enable_thinking=False,
            )
        except (TemplateError, TypeError, ValueError, KeyError, OverflowError) as error:
            raise InvalidRequest(
                f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error
        return text

    def _name(self, token: int | None) -> str:
        return next((name for name, index in self._tokenizer.special.items() if index == token), "")


def _separator(request: ChatRequest) -> str:
    given = request.model_dump_json()
    return next(chr(code) for code in _SEPARATORS if chr(code) not in given)


def _messages(request: ChatRequest) -> Iterator[dict[str, Any]]:
    """Messages as templates expect them: content as text, arguments as objects.

    Hints for a response format go into the system message, or into the last message for a plan. Plans of earlier steps
    are left out: small models that aren't trained on them repeat them as their answer.
    """
    names: dict[str, str] = {}
    hint, last = schema_hint(request), plan_hint(request)
    messages = list(request.messages)
    if hint and messages and messages[0].role not in ("system", "developer"):
        yield {"role": "system", "content": hint}
        hint = ""
    for index, message in enumerate(messages):
        names.update({call.id: call.function.name for call in message.tool_calls or []})
        if message.role == "assistant" and message.name == PLAN_NAME:
            continue
        text = content_text(message, index)
        if index == 0:
            text = "\n\n".join(filter(None, (text, hint)))
        if last and index == len(messages) - 1 and message.role == "user":
            text, last = f"{text}\n\n{last}", ""
        yield from _turn(message, text, names)
    if last:
        yield {"role": "user", "content": last}


def _turn(message: ChatMessage, text: str, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    role = "system" if message.role == "developer" else message.role
    turn: dict[str, Any] = {"role": role, "content": text}
    if message.role == "tool":
        # A result may quote anything, but must not close its own tag.
        turn["content"] = text.replace("</tool_response>", "<\\/tool_response>")
        name = names.get(message.tool_call_id or "", message.name)
        turn |= {"tool_call_id": message.tool_call_id, "name": name} if name else {}
    elif message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.as_object()},
            }
            for call in message.tool_calls
        ]
    yield turn


def _changed(value: Any, changes: dict[str, str]) -> Any:
    """A copy of a JSON value with these changes in all strings."""
    if isinstance(value, str):
        for old, new in changes.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [_changed(each, changes) for each in value]
    if isinstance(value, dict):
        return {_changed(key, changes): _changed(each, changes) for key, each in value.items()}
    return value


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _refuse(message: str) -> None:
    raise TemplateError(message)


class _Generation(Extension):
    """The tag ``{% generation %}``, which marks what a model is trained on. Its content is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 (an instance variable in the base class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
