"""Wire types of the OpenAI chat protocol, with one extension field, ``flightloop``.

Source: OpenAI API reference, "Chat Completions". Servers that don't know the extension ignore it, and their answers
have no confidence figures.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json

from flightloop.content import Asked, Content, Many, Part, Wire, is_plain, text_of
from flightloop.limits import (
    ANSWER_CALLS,
    CALLS,
    CHOICES,
    DESCRIPTION_CHARS,
    MESSAGES,
    NAME_CHARS,
    STOP_CHARS,
    STOPS,
    TOOLS,
)
from flightloop.subject import GivenSubject
from flightloop.wellformed import LARGEST_INTEGER, LEVELS, key_given_twice, levels, unkept_number

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Priority = Literal["operator", "interactive", "batch"]
MOST_TOKENS = 2**31 - 1
"""Largest token limit: leaves room for sums in the databases' integer columns."""


class FunctionCall(Asked):
    name: str
    arguments: str = "{}"
    """A JSON object as text."""

    def parsed(self) -> dict[str, Any]:
        """The arguments as a dict.

        Raises:
            ValueError: not a JSON object, or not read alike by all JSON readers: it has a lone surrogate, an infinite
                number, an integer above 2^53 - 1, a key twice, or more than ``LEVELS`` levels.
        """
        value = from_json(self.arguments or "{}", allow_inf_nan=False)
        if not isinstance(value, dict):
            raise ValueError(f"arguments of {self.name} are not a JSON object")
        if levels(value) > LEVELS:
            raise ValueError(f"arguments of {self.name} have more than {LEVELS} levels")
        if (key := key_given_twice(self.arguments or "{}")) is not None:
            raise ValueError(f"arguments of {self.name} have {key!r} twice")
        if (number := unkept_number(value)) is not None:
            shown = f"{number:.3g}" if isinstance(number, float) else f"an integer of {number.bit_length()} bits"
            raise ValueError(
                f"arguments of {self.name} contain {shown}: numbers must be finite, and integers at most"
                f" {LARGEST_INTEGER}; write a larger one as text"
            )
        return value

    def as_object(self) -> dict[str, Any]:
        """The arguments for consumers that require a dict; invalid text is returned as ``{"unparsed": text}``."""
        try:
            return self.parsed()
        except ValueError:
            return {"unparsed": self.arguments}


class ToolCall(Wire):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


def _as_text(part: Any) -> Any:
    """Converts a refusal, which an assistant's message may contain, to a text part."""
    if isinstance(part, dict) and part.get("type") == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    return part


class ChatMessage(Asked):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = Field(default_factory=list)
    name: str | None = Field(default=None, max_length=NAME_CHARS)
    tool_calls: Many[ToolCall] | None = Field(default=None, max_length=CALLS)
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _refusal_is_text(cls, value: Any) -> Any:
        return [_as_text(part) for part in value] if isinstance(value, list) else value

    @field_serializer("content")
    def _plain_as_string(self, parts: list[Part]) -> Any:
        """Serialises plain text as a string, which every OpenAI-compatible server accepts."""
        if not parts and self.tool_calls:
            return None
        return text_of(parts) if is_plain(parts) else [part.model_dump() for part in parts]

    @property
    def text(self) -> str:
        return text_of(self.content)


class FunctionDef(Asked):
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str = Field(default="", max_length=DESCRIPTION_CHARS)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """A JSON Schema of type object."""
    strict: bool | None = None


class ToolDef(Asked):
    type: Literal["function"] = "function"
    function: FunctionDef


class NamedFunction(Wire):
    name: str


class NamedToolChoice(Wire):
    type: Literal["function"] = "function"
    function: NamedFunction


class AllowedTools(Wire):
    mode: Literal["auto", "required"]
    tools: Many[NamedToolChoice] = Field(min_length=1, max_length=TOOLS)


class AllowedToolsChoice(Wire):
    """Restricts the choice to these tools, as if the request had no others."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.function.name for tool in self.allowed_tools.tools)


class JsonSchemaFormat(Asked):
    name: str = Field(default="answer", max_length=NAME_CHARS)
    description: str | None = Field(default=None, max_length=DESCRIPTION_CHARS)
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class ResponseFormat(Asked):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(Asked):
    include_usage: bool = False


class Tags(Asked):
    """Owner of a completion, with its subject's id; interrupts and metrics match these tags."""

    tenant_id: str = Field(default="default", max_length=NAME_CHARS)
    agent: str | None = Field(default=None, max_length=NAME_CHARS)
    session_id: str | None = Field(default=None, max_length=NAME_CHARS)
    run_id: str | None = Field(default=None, max_length=NAME_CHARS)
    subject: str | None = Field(default=None, max_length=NAME_CHARS)


class RequestExtension(Asked):
    """Request fields that only flightloop's engine understands."""

    priority: Priority = "interactive"
    tags: Tags = Field(default_factory=Tags)
    epoch: int | None = None
    """Interrupt epoch at admission, or None for the replica's: later interrupts stop the request, even if cleared."""
    traceparent: str | None = Field(default=None, max_length=NAME_CHARS)
    """W3C trace context."""
    call_confidence: float | None = Field(default=None, ge=0, lt=1)
    """Lowest confidence at which a call is made; 0: all are. None: the server's own level."""
    opening: str | None = Field(default=None, min_length=1, max_length=4000)
    never: Many[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list, max_length=64)
    """Text that an answer in words begins with, and texts that it can't contain; ignored with tools or a format."""


def _kind_of_choice(value: Any) -> str:
    kind = value.get("type", "function") if isinstance(value, dict) else getattr(value, "type", "mode")
    return str(kind)


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")]
    | Annotated[NamedToolChoice, Tag("function")]
    | Annotated[AllowedToolsChoice, Tag("allowed_tools")],
    Discriminator(
        _kind_of_choice,
        custom_error_type="unsupported",
        custom_error_message="is not supported; use none, auto, required, a function or allowed_tools",
    ),
]


class ChatRequest(Asked):
    """A request to a model. A run's own may be longer than a client's, which is a `ChatCreate`."""

    model: str = Field(max_length=NAME_CHARS)
    messages: Many[ChatMessage] = Field(min_length=1)
    tools: Many[ToolDef] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    """None: the model's default, 1, except that tool calls are decoded greedily."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Both penalties are subtracted from logits of tokens in the answer: frequency per occurrence, presence once."""
    seed: int | None = None
    stop: Many[Annotated[str, Field(max_length=STOP_CHARS)]] = Field(default_factory=list, max_length=STOPS)
    n: int = Field(default=1, ge=1, le=CHOICES)
    """Number of choices. Each gets its own seed, derived from ``seed`` if given."""
    ignore_eos: bool = False
    """As in vLLM: the answer continues until another limit ends it. For benchmarks."""
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    """Alternatives per token. Log-probabilities are natural logarithms, taken before the grammar's mask."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(default=None, max_length=NAME_CHARS)
    subject: GivenSubject | None = None
    """Extension: the end user on whose behalf the completion acts. ``user`` is never trusted as one."""
    flightloop: RequestExtension = Field(default_factory=RequestExtension)

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("tool_choice")
    @classmethod
    def _allows_known_tools(cls, choice: ToolChoice | None, info: ValidationInfo) -> ToolChoice | None:
        if isinstance(choice, AllowedToolsChoice):
            known = {tool.function.name for tool in info.data.get("tools") or []}
            unknown = sorted(choice.names - known)
            if unknown:
                raise PydanticCustomError(
                    "unknown_tool", 'allows tools that are missing from "tools": {names}', {"names": ", ".join(unknown)}
                )
        return choice

    @model_validator(mode="after")
    def _only_allowed_tools(self) -> Self:
        if isinstance(self.tool_choice, AllowedToolsChoice):
            self.tools = [tool for tool in self.tools or [] if tool.function.name in self.tool_choice.names]
            self.tool_choice = self.tool_choice.allowed_tools.mode
        return self

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class ChatCreate(ChatRequest):
    """The body of ``POST /v1/chat/completions``: a request within the limits of `flightloop.limits`."""

    messages: Many[ChatMessage] = Field(min_length=1, max_length=MESSAGES)
    tools: Many[ToolDef] | None = Field(default=None, max_length=TOOLS)


class TopLogprob(Wire):
    token: str
    logprob: float
    bytes: Many[int] | None = None


class TokenLogprob(TopLogprob):
    top_logprobs: Many[TopLogprob] = Field(default_factory=list)


class ChoiceLogprobs(Wire):
    content: Many[TokenLogprob] = Field(default_factory=list)


class PromptTokensDetails(Wire):
    cached_tokens: int = 0


class Usage(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails = Field(default_factory=PromptTokensDetails)

    def __add__(self, other: Usage) -> Usage:
        cached = self.prompt_tokens_details.cached_tokens + other.prompt_tokens_details.cached_tokens
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        )


class Ask(Wire):
    """A call in a completion that requires approval under the policy; the client decides whether to make it."""

    call_id: str
    reason: str


class ResponseExtension(Wire):
    """Response fields beyond OpenAI's; all except ``asks`` come from flightloop's engine. Units: seconds, nats."""

    confidence: FiniteFloat | None = None
    """exp(mean token log-probability), before the grammar's mask, 0..1."""
    mean_entropy: FiniteFloat | None = None
    max_entropy: FiniteFloat | None = None
    queue_seconds: FiniteFloat | None = None
    ttft_seconds: FiniteFloat | None = None
    interrupted: bool = False
    """Whether an interrupt ended the answer early."""
    withheld: FiniteFloat | None = None
    """Confidence, 0..1, of calls that were too uncertain to be made; this answer replaces them."""
    asks: list[Ask] = Field(default_factory=list)


class ResponseMessage(Wire):
    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    """What the model wrote before its answer, if it reasons."""
    tool_calls: list[ToolCall] | None = None


class Choice(Wire):
    index: int = 0
    message: ResponseMessage
    finish_reason: FinishReason
    logprobs: ChoiceLogprobs | None = None


class ChatCompletion(Wire):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage = Field(default_factory=Usage)
    flightloop: ResponseExtension | None = None


class FunctionDelta(Wire):
    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Wire):
    index: int = Field(ge=0, lt=ANSWER_CALLS)
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta = Field(default_factory=FunctionDelta)


class Delta(Wire):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(Wire):
    index: int = 0
    delta: Delta = Field(default_factory=Delta)
    finish_reason: FinishReason | None = None
    logprobs: ChoiceLogprobs | None = None


class ChatChunk(Wire):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice] = Field(default_factory=list)
    usage: Usage | None = None
    flightloop: ResponseExtension | None = None
