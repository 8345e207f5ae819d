"""Wire types of the OpenAI Responses protocol: stateless, function tools only.

Source: OpenAI API reference, "Responses". Nothing is stored: ``store`` is always false, and a conversation continues by
sending its items again. A request with an unsupported feature is rejected with the field's name. Hints (``reasoning``,
``service_tier``, ``prompt_cache_key`` …) are ignored, like every field that is not listed here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator
from pydantic_core import PydanticCustomError

from flightloop.chat import MOST_TOKENS, RequestExtension, ResponseExtension, TokenLogprob
from flightloop.content import Asked, Many, Wire, type_required
from flightloop.limits import DESCRIPTION_CHARS, MESSAGES, METADATA, NAME_CHARS, PARTS, TOOLS, check_metadata
from flightloop.subject import GivenSubject

FUNCTIONS_ONLY = "only tools of type 'function' are supported; offer a function of your own instead"
NOT_STORED = "responses are not stored; send the conversation's items as 'input'"
_UNSUPPORTED: dict[str, tuple[object, str]] = {
    "previous_response_id": (None, NOT_STORED),
    "conversation": (None, NOT_STORED),
    "store": (False, f"{NOT_STORED}, and leave 'store' out or false"),
    "background": (False, "the request waits for its response; use POST /v1/runs for background work"),
    "prompt": (None, "prompts are not stored; send 'instructions' and 'input'"),
    "truncation": ("disabled", "input is never cut; leave 'truncation' out and send fewer items"),
    "context_management": (None, "input is never compacted; leave it out and send fewer items"),
    "moderation": (None, "the policy 'default' decides; leave it out"),
}
"""Unsupported parameters, each with the value that is accepted besides null, and advice for the error."""


class InputText(Asked):
    model_config = ConfigDict(json_schema_extra=type_required)

    type: Literal["input_text"] = "input_text"
    text: str


class InputImage(Asked):
    type: Literal["input_image"] = "input_image"
    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


class OutputText(Asked):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: Many[Any] = Field(default_factory=list, max_length=PARTS)
    logprobs: Many[TokenLogprob] = Field(default_factory=list)


class Refusal(Asked):
    type: Literal["refusal"] = "refusal"
    refusal: str


def _type_of(value: Any) -> str | None:
    """The type of an item; without a type it is a message."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "message" if kind is None else str(kind)


ItemPart = Annotated[
    Annotated[InputText, Tag("input_text")]
    | Annotated[InputImage, Tag("input_image")]
    | Annotated[OutputText, Tag("output_text")]
    | Annotated[Refusal, Tag("refusal")],
    Discriminator(
        _type_of,
        custom_error_type="unsupported",
        custom_error_message="is not supported; use input_text, input_image, output_text or refusal",
    ),
]


def _as_parts(value: Any) -> Any:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


ItemContent = Annotated[
    Many[ItemPart], Field(max_length=PARTS), BeforeValidator(_as_parts, json_schema_input_type=str | list[ItemPart])
]
"""A list of parts; a plain string becomes one text part."""


class MessageItem(Asked):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: ItemContent


class FunctionCallItem(Asked):
    type: Literal["function_call"] = "function_call"
    call_id: str
    name: str = Field(max_length=NAME_CHARS)
    arguments: str = "{}"
    """A JSON object as text."""


class FunctionOutputItem(Asked):
    type: Literal["function_call_output"] = "function_call_output"
    call_id: str
    output: ItemContent


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")],
    Discriminator(
        _type_of,
        custom_error_type="unsupported",
        custom_error_message="is not supported; use message, function_call or function_call_output, or leave it out",
    ),
]


def _as_items(value: Any) -> Any:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return [_as_input(item) for item in value] if isinstance(value, list) else value


def _as_input(item: Any) -> Any:
    """Accepts output items of an earlier response as input."""
    return item.model_dump() if isinstance(item, OutputMessage) else item


Items = Annotated[
    Many[InputItem],
    Field(max_length=MESSAGES),
    BeforeValidator(_as_items, json_schema_input_type=str | list[InputItem]),
]
"""A list of items; a plain string becomes one user message."""


class FunctionTool(Asked):
    type: Literal["function"] = "function"
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = Field(default=None, max_length=DESCRIPTION_CHARS)
    parameters: dict[str, Any] | None = None
    """A JSON Schema of type object."""
    strict: bool | None = None

    @field_validator("type", mode="before")
    @classmethod
    def _is_function(cls, value: Any) -> Any:
        if value != "function":
            raise PydanticCustomError("unsupported", FUNCTIONS_ONLY)
        return value


class FunctionChoice(Wire):
    type: Literal["function"]
    name: str = Field(max_length=NAME_CHARS)


class AllowedFunctions(Wire):
    """Restricts the choice to these tools, as if the request had no others."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Many[FunctionChoice] = Field(min_length=1, max_length=TOOLS)


class TextFormat(Asked):
    """Output format. ``name`` and ``schema`` are for ``json_schema``."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = Field(default=None, max_length=NAME_CHARS)
    description: str | None = Field(default=None, max_length=DESCRIPTION_CHARS)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextConfig(Asked):
    format: TextFormat = Field(default_factory=TextFormat)


class ResponseCreate(Asked):
    """Body of ``POST /v1/responses``."""

    model: str = Field(max_length=NAME_CHARS)
    input: Items = Field(min_length=1)
    instructions: str | None = None
    tools: Many[FunctionTool] = Field(default_factory=list, max_length=TOOLS)
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedFunctions = "auto"
    parallel_tool_calls: bool = True
    text: TextConfig = Field(default_factory=TextConfig)
    max_output_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    include: Many[str] = Field(default_factory=list, max_length=NAME_CHARS)
    """Only ``message.output_text.logprobs`` has an effect."""
    top_logprobs: int = Field(default=0, ge=0, le=20)
    metadata: Annotated[dict[str, str], AfterValidator(check_metadata)] = Field(
        default_factory=dict, max_length=METADATA
    )
    """Returned with the response."""
    stream: bool = False
    user: str | None = Field(default=None, max_length=NAME_CHARS)
    subject: GivenSubject | None = None
    flightloop: RequestExtension = Field(default_factory=RequestExtension)

    previous_response_id: Any = None
    conversation: Any = None
    store: Any = None
    background: Any = None
    prompt: Any = None
    truncation: Any = None
    context_management: Any = None
    moderation: Any = None

    @field_validator(*_UNSUPPORTED, mode="before")
    @classmethod
    def _supported(cls, value: Any, info: Any) -> Any:
        harmless, advice = _UNSUPPORTED[info.field_name]
        if value is not None and value != harmless:
            raise PydanticCustomError("unsupported", "is not supported: {advice}", {"advice": advice})
        return None


ItemStatus = Literal["in_progress", "completed", "incomplete"]


class OutputMessage(Wire):
    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: list[OutputText] = Field(default_factory=list)


class OutputCall(FunctionCallItem):
    id: str
    status: ItemStatus


class InputTokensDetails(Wire):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Wire):
    reasoning_tokens: int = 0


class ResponseUsage(Wire):
    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = Field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = Field(default_factory=OutputTokensDetails)
    total_tokens: int = 0


class IncompleteDetails(Wire):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseError(Wire):
    code: str
    message: str


class ResponseObject(Wire):
    """A response. Times are seconds since 1970."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    incomplete_details: IncompleteDetails | None = None
    error: ResponseError | None = None
    model: str
    output: list[OutputMessage | OutputCall] = Field(default_factory=list)
    usage: ResponseUsage | None = None
    instructions: str | None = None
    tools: list[FunctionTool] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedFunctions = "auto"
    parallel_tool_calls: bool = True
    text: TextConfig = Field(default_factory=TextConfig)
    max_output_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_logprobs: int = 0
    metadata: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    store: Literal[False] = False
    background: Literal[False] = False
    truncation: Literal["disabled"] = "disabled"
    previous_response_id: None = None
    flightloop: ResponseExtension | None = None

    @classmethod
    def begun(cls, request: ResponseCreate, *, id: str, created_at: int) -> ResponseObject:
        """A new response that repeats the request's parameters."""
        echoed = {name: getattr(request, name) for name in _ECHOED}
        echoed["temperature"] = 1.0 if request.temperature is None else request.temperature
        return cls(id=id, created_at=created_at, status="in_progress", **echoed)

    @property
    def output_text(self) -> str:
        """Text of all messages; empty if there are only calls."""
        messages = [item for item in self.output if isinstance(item, OutputMessage)]
        return "".join(part.text for message in messages for part in message.content)


_ECHOED = frozenset(ResponseCreate.model_fields) & frozenset(ResponseObject.model_fields) - {
    "flightloop", "store", "background", "truncation", "previous_response_id"
}  # fmt: skip
