"""A model behind any OpenAI-compatible URL. Needs neither torch nor ray."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from agent.chat_model import Capabilities
from agent.models.lenient import Normaliser
from flightloop.chat import ChatChunk, ChatRequest, FunctionCall, ModelCard, ResponseExtension
from flightloop.errors import (
    ConfigError,
    ContextTooLong,
    FlightloopError,
    InvalidRequest,
    ModelUnavailable,
    UnsupportedContent,
    error_for,
)
from flightloop.sse import SSEDecoder
from flightloop.wellformed import whole

_DONE = "[DONE]"
MOST_OF_ERROR = 64 * 1024
MOST_BYTES = 64 * 1024**2
"""Of an answer: 32,000 tokens with twenty log-probabilities each have half of it."""


@dataclass(frozen=True)
class RemoteConfig:
    """A remote model server.

    Args:
        url: base URL; ``/v1`` is added where the URL has no path.
        name: the model's name there; None sends the name that the request carries.
        strict_schemas: the server constrains decoding by a JSON Schema marked ``strict``.
        logprobs: the server returns log-probabilities.
        parts: kinds of content parts that the server takes.
        timeout_s: longest silence of the server, seconds.
    """

    url: str
    name: str | None = None
    api_key: str | None = None
    strict_schemas: bool = True
    logprobs: bool = False
    parts: frozenset[str] = frozenset({"text"})
    context_length: int | None = None
    timeout_s: float = 120.0


class RemoteChatModel:
    """``ChatModel`` over HTTP. Close it with :meth:`close`.

    Args:
        config: the server.
        client: for tests and proxies; by default one that belongs to this object.
    """

    def __init__(self, config: RemoteConfig, client: httpx.AsyncClient | None = None) -> None:
        self._config = config
        self._base = base_url(config.url)
        headers = {"authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        timeout = httpx.Timeout(config.timeout_s, connect=min(10.0, config.timeout_s))
        self._client = client or httpx.AsyncClient(timeout=timeout, headers=headers)

    @property
    def capabilities(self) -> Capabilities:
        config = self._config
        return Capabilities(
            json_schema=config.strict_schemas,
            logprobs=config.logprobs,
            parts=config.parts,
            context_length=config.context_length,
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Raises what ``ChatModel`` lists."""
        normaliser = Normaliser()
        logprobs: list[float] = []
        with self._told():
            async with self._opened(self._payload(request)) as response:
                async for data in _events(response):
                    yield _with_confidence(self._chunk(normaliser, data), logprobs)
        if not normaliser.finished:
            raise ModelUnavailable("the model server ended the stream before the answer was complete")

    async def models(self) -> list[ModelCard]:
        """The models that the server lists; the configured name alone if it lists none."""
        try:
            response = await self._get("/models")
            listed = response.json().get("data", [])
            cards = [ModelCard.model_validate({"owned_by": "remote", **item}) for item in listed]
        except (ValueError, AttributeError, TypeError) as error:
            raise ModelUnavailable(f"{self._base}/models answered with what is no list of models") from error
        name = self._config.name
        if name is None:
            return cards
        return [card for card in cards if card.id == name] or [ModelCard(id=name, owned_by="remote")]

    async def close(self) -> None:
        await self._client.aclose()

    # -- requests ---------------------------------------------------------------------------------

    def _payload(self, request: ChatRequest) -> dict[str, Any]:
        self._refuse_unsupported(request)
        payload = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"flightloop", "n"})
        payload["model"] = self._config.name or request.model
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
        if not payload.get("tools"):
            for field in ("tools", "tool_choice", "parallel_tool_calls"):
                payload.pop(field, None)
        if not (request.logprobs and self._config.logprobs):
            payload.pop("logprobs", None)
            payload.pop("top_logprobs", None)
        for field in ("stop", "ignore_eos", "frequency_penalty", "presence_penalty"):
            if not payload[field]:
                del payload[field]
        for message, asked in zip(payload["messages"], request.messages, strict=True):
            message.setdefault("content", None)  # a turn of calls alone: OpenAI wants the field all the same
            for call, made in zip(message.get("tool_calls", ()), asked.tool_calls or (), strict=True):
                call["function"]["arguments"] = _as_json(made.function)
        self._mark_strict(payload)
        return payload

    def _mark_strict(self, payload: dict[str, Any]) -> None:
        strict = self._config.strict_schemas
        schema = (payload.get("response_format") or {}).get("json_schema")
        for holder in [tool["function"] for tool in payload.get("tools", [])] + ([schema] if schema else []):
            if strict and holder.get("strict") is None:
                holder["strict"] = True
            elif not strict:
                holder.pop("strict", None)

    def _refuse_unsupported(self, request: ChatRequest) -> None:
        for index, message in enumerate(request.messages):
            for part in message.content:
                if part.type not in self._config.parts:
                    known = ", ".join(sorted(self._config.parts))
                    raise UnsupportedContent(
                        f"the model takes no {part.type} parts; it takes: {known}", param=f"messages[{index}].content"
                    )

    @asynccontextmanager
    async def _opened(self, payload: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """An answer's stream; leaving it tells the server to stop decoding."""
        plain = {"accept-encoding": "identity"}  # a few bytes unpacked may be gigabytes
        async with self._client.stream(
            "POST", f"{self._base}/chat/completions", json=payload, headers=plain
        ) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ModelUnavailable(f"{self._base} sends compressed answers, which it was asked not to")
            if response.status_code >= 400:
                raise self._error(response, await _told(response))
            yield response

    async def _get(self, path: str) -> httpx.Response:
        with self._told():
            response = await self._client.get(f"{self._base}{path}")
        if response.status_code >= 400:
            raise self._error(response, response.content)
        return response

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
            raise ModelUnavailable(f"no answer from the model server {self._base}: {told}") from error

    # -- answers ----------------------------------------------------------------------------------

    def _chunk(self, normaliser: Normaliser, data: str) -> ChatChunk:
        try:
            document = whole(json.loads(data))
            if isinstance(document, dict) and document.get("error"):
                raise _meaning(error_for(500, document))
            return normaliser.chunk(document)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelUnavailable(f"{self._base} sent what is no chat chunk") from error

    def _error(self, response: httpx.Response, told: bytes) -> FlightloopError:
        try:
            body: Any = json.loads(told)
        except (ValueError, RecursionError):
            body = None
        if response.status_code in (401, 403):
            return ConfigError(f"{self._base} refused our key ({response.status_code}): check FLIGHTLOOP_MODEL_API_KEY")
        if response.status_code == 404 and self._config.name:
            return ConfigError(
                f"{self._base} knows no model {self._config.name!r} or no such path:"
                " check FLIGHTLOOP_MODEL_NAME and FLIGHTLOOP_MODEL_URL"
            )
        error = _meaning(
            error_for(response.status_code, body, retry_after=_seconds(response.headers.get("retry-after")))
        )
        return ModelUnavailable(error.message, retry_after=error.retry_after) if error.status >= 500 else error


def _as_json(function: FunctionCall) -> str:
    """Arguments as they were written, if they are JSON: vLLM and Ollama refuse a conversation with others."""
    try:
        function.parsed()
    except ValueError:
        return json.dumps(function.as_object(), ensure_ascii=False)
    return function.arguments or "{}"


async def _told(response: httpx.Response) -> bytes:
    """The beginning of what a server says of an error."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MOST_OF_ERROR:
            break
    return bytes(body)


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of the server-sent events before the one that ends them."""
    decoder, read = SSEDecoder(), 0
    async for piece in response.aiter_bytes():
        read += len(piece)
        if read > MOST_BYTES:
            raise ModelUnavailable(f"the model server's answer has no end: it was cut after {MOST_BYTES} bytes")
        for event in decoder.push(piece):
            if event.data == _DONE:
                return
            yield event.data


def _with_confidence(chunk: ChatChunk, logprobs: list[float]) -> ChatChunk:
    """Adds the chunk's log-probabilities to those before; the last chunk tells the confidence they make."""
    for choice in chunk.choices:
        logprobs += [token.logprob for token in choice.logprobs.content] if choice.logprobs else []
        if choice.finish_reason is not None and logprobs:
            chunk.flightloop = ResponseExtension(confidence=math.exp(sum(logprobs) / len(logprobs)))
    return chunk


def base_url(url: str) -> str:
    """``url`` without a slash at its end, with ``/v1`` where it names a host alone."""
    trimmed = url.rstrip("/")
    return trimmed if httpx.URL(trimmed).path.strip("/") else f"{trimmed}/v1"


def _meaning(error: FlightloopError) -> FlightloopError:
    """Servers word an overlong prompt in several ways; ours is an error of its own."""
    told = error.message.lower()
    overlong = "context" in told and any(word in told for word in ("length", "window", "exceed", "maximum"))
    if overlong and isinstance(error, InvalidRequest) and not isinstance(error, ContextTooLong):
        return ContextTooLong(error.message, param="messages")
    return error


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None  # a date: rare, and the usual back-off does
