"""Hides personal data from the model: placeholders in the request, real values in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flightloop.answer import Answer
from flightloop.chat import (
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChunkChoice,
    FunctionCall,
    FunctionDef,
    JsonSchemaFormat,
    ResponseFormat,
    ToolCall,
    ToolDef,
)
from flightloop.content import Part, TextPart
from flightloop.errors import GuardrailBlocked, UnsupportedContent
from guardrails.placeholders.filling import Filling
from guardrails.placeholders.register import Register, dumped
from guardrails.text.scalars import map_scalars

INSTRUCTION = (
    "Marks in square brackets, such as [EMAIL_0], stand for personal data that is hidden from you."
    " Where the data belongs, copy its mark exactly. Never make up a mark or the data."
)
"""Explains placeholders to the model, after its instructions. No value has the number 0."""
_FORMAT_KEYWORDS = ("format", "pattern", "minLength", "maxLength")
"""Limits of a string that its value may meet while its placeholder does not."""

_FIXED_KEYWORDS = frozenset(
    ["type", "format", "pattern", "required", "dependentRequired", "contentEncoding", "contentMediaType", "$schema",
     "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"]
)  # fmt: skip
"""Keywords whose values validators read, so they are kept. The texts of all others, also unknown ones, are masked."""
_SUBSCHEMA_KEYWORDS = frozenset(
    ["items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "propertyNames",
     "unevaluatedProperties", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contentSchema"]
)  # fmt: skip
"""Keywords that hold subschemas."""
_VALUE_KEYWORDS = frozenset({"default", "const", "enum", "examples"})
"""Keywords that hold values to choose from, numbers too."""
_NAME_KEYWORDS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that map names to subschemas."""


class Masking:
    """Masks one request, and fills in the answer.

    Args:
        known: placeholders so far. Values that only this request has get placeholders of their own, which it forgets:
            so a prompt depends on the session's texts alone.
    """

    def __init__(self, known: Register, request: ChatRequest) -> None:
        self._register = known.copy()
        form = request.response_format
        self._filling = Filling(self._register, escaped=form is not None and form.type != "text")

    @property
    def register(self) -> Register:
        """The placeholders, with those of the request."""
        return self._register

    def request(self, request: ChatRequest) -> ChatRequest:
        """The request as the model gets it. Takes about 4 ms for 1,000 characters that are new.

        Raises:
            UnsupportedContent: it has an image, in which nothing can be hidden.
        """
        tools = [self._tool(tool) for tool in request.tools] if request.tools else request.tools
        form = self._format(request.response_format)
        messages = [self._message(message) for message in request.messages]
        opening, never = request.flightloop.opening, request.flightloop.never
        changes: dict[str, Any] = {
            "opening": None if opening is None else self._register.masked(opening),
            "never": [self._register.masked(text) for text in never],
        }
        extension = request.flightloop.model_copy(update=changes)
        return request.model_copy(
            update={
                "messages": _with_instruction(messages),
                "tools": tools,
                "response_format": form,
                "stop": [self._register.masked(text) for text in request.stop],
                "user": None,
                "flightloop": extension,
            }
        )

    def chunk(self, chunk: ChatChunk) -> ChatChunk:
        """The chunk with its text filled in; what may be the beginning of a placeholder comes with a later chunk."""
        return chunk.model_copy(update={"choices": [self._choice(choice) for choice in chunk.choices]})

    def finish(self, answer: Answer) -> None:
        """Fills in the answer's calls, where the policy permits it, and its reasoning. In other arguments, placeholders
        stay: a rail refuses them."""
        answer.reasoning = self._register.filled(answer.reasoning)
        answer.calls = [call.model_copy(update={"function": self._filled(call.function)}) for call in answer.calls]

    def _choice(self, choice: ChunkChoice) -> ChunkChoice:
        text = choice.delta.content or ""
        filled = self._filling.push(text) if text else ""
        if choice.finish_reason is not None:
            filled += self._filling.finish()
        if filled == text:
            return choice
        return choice.model_copy(update={"delta": choice.delta.model_copy(update={"content": filled})})

    def _filled(self, function: FunctionCall) -> FunctionCall:
        try:
            given = function.parsed()
        except ValueError:
            return function  # the call is refused as it is
        arguments = {
            name: map_scalars(value, self._register.filled)
            if self._register.policy.permits(function.name, name)
            else value
            for name, value in given.items()
        }
        return function if arguments == given else FunctionCall(name=function.name, arguments=dumped(arguments))

    def _message(self, message: ChatMessage) -> ChatMessage:
        fixed = message.role in ("system", "developer")
        calls = [self._masked_call(call) for call in message.tool_calls] if message.tool_calls else message.tool_calls
        content = [self._part(part, fixed) for part in message.content]
        name = message.name if message.role in ("tool", "assistant") else None
        return message.model_copy(update={"content": content, "tool_calls": calls, "name": name})

    def _part(self, part: Part, fixed: bool) -> Part:
        if not isinstance(part, TextPart):
            raise UnsupportedContent(
                'the policy\'s "placeholders" hide personal data from the model, and nothing can be hidden in an image:'
                " use a model that does not see, which gets what was read in it, or a policy without placeholders"
            )
        return TextPart(text=self._register.masked(part.text, fixed=fixed))

    def _masked_call(self, call: ToolCall) -> ToolCall:
        function = call.function
        masked = FunctionCall(name=function.name, arguments=self._register.masked(function.arguments))
        return call.model_copy(update={"function": masked})

    def _tool(self, tool: ToolDef) -> ToolDef:
        function, permits = tool.function, self._register.policy.permits
        given = function.parameters.get("properties", {})
        relaxed = {name: _relaxed(schema) if permits(function.name, name) else schema for name, schema in given.items()}
        parameters = {**function.parameters, "properties": relaxed} if relaxed else function.parameters
        changes = {
            "description": self._register.masked_words(function.description),
            "parameters": self._schema(parameters),
        }
        return tool.model_copy(update={"function": FunctionDef(**{**function.model_dump(), **changes})})

    def _format(self, form: ResponseFormat | None) -> ResponseFormat | None:
        if form is None or form.json_schema is None:
            return form
        given = form.json_schema
        schema = JsonSchemaFormat(
            name=given.name,
            description=None if given.description is None else self._register.masked_words(given.description),
            schema=self._schema(_relaxed(given.schema_)),
            strict=given.strict,
        )
        return form.model_copy(update={"json_schema": schema})

    def _schema(self, node: Any) -> Any:
        """A schema with placeholders in its texts, such as descriptions, defaults, and values to choose from."""
        if isinstance(node, list):
            return [self._schema(each) for each in node]
        if not isinstance(node, Mapping):
            return node
        return {key: self._under(key, value) for key, value in node.items()}

    def _under(self, keyword: str, value: Any) -> Any:
        if keyword in _NAME_KEYWORDS and isinstance(value, Mapping):
            return {name: self._schema(below) for name, below in value.items()}
        if keyword in _SUBSCHEMA_KEYWORDS:
            return self._schema(value)
        if keyword in _FIXED_KEYWORDS or (
            keyword not in _VALUE_KEYWORDS and not isinstance(value, str | list | Mapping)
        ):
            return value
        return map_scalars(value, self._register.masked_words)


def not_hidden(error: Exception) -> GuardrailBlocked:
    """What to raise where personal data could not be hidden, so that nothing is sent."""
    why = f"personal data could not be hidden from the model, so nothing was sent to it: {type(error).__name__}"
    return GuardrailBlocked(why)


def _relaxed(node: Any) -> Any:
    """A schema whose strings may be placeholders. What is filled in is checked against the schema as it was."""
    if isinstance(node, Mapping):
        is_text = "string" in (node.get("type"), *(node["type"] if isinstance(node.get("type"), list) else ()))
        return {key: _relaxed(value) for key, value in node.items() if not (is_text and key in _FORMAT_KEYWORDS)}
    return [_relaxed(each) for each in node] if isinstance(node, list) else node


def _with_instruction(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The messages, with ``INSTRUCTION`` after the system message."""
    added = TextPart(text=INSTRUCTION)
    first = messages[0]
    if first.role not in ("system", "developer"):
        return [ChatMessage(role="system", content=[added]), *messages]
    return [first.model_copy(update={"content": [*first.content, TextPart(text="\n" + INSTRUCTION)]}), *messages[1:]]
