"""Client for a model behind an OpenAI-compatible URL. Needs neither torch nor ray."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from agent.models.chat_model import IMAGES, Capabilities
from agent.models.listed import MOST_MODELS, MOST_OF_LIST, listed_models
from agent.models.normalise import Normaliser
from agent.models.server_error import MOST_LOGGED, server_error
from flightloop.chat import ChatChunk, ChatRequest, FunctionCall, ResponseExtension
from flightloop.errors import (
    ConfigError,
    FlightloopError,
    ModelUnavailable,
    UnsupportedContent,
)
from flightloop.model_card import ModelCard
from flightloop.sse import EventTooLong, SSEDecoder
from flightloop.wellformed import whole
from guardrails.aside import aside, on_behalf_of
from model.chat.hints import PLAN_NAME, plan_in_words

_DONE = "[DONE]"
log = structlog.get_logger(__name__)
MOST_OF_ERROR = 64 * 1024
MOST_BYTES = 64 * 1024**2
"""Maximum bytes of an answer: twice what 32,000 tokens with twenty log-probabilities each need."""
MOST_OF_EVENT = 1024**2
MOST_LOGPROBS = 32_000
"""Maximum number of tokens with log-probabilities, if nothing else limits the answer's length."""


@dataclass(frozen=True)
class RemoteConfig:
    """Configuration of a remote model server."""

    url: str
    """Base URL; ``/v1`` is added if the URL has no path."""
    name: str | None = None
    """Name of the model on the server; None: the name in the request."""
    api_key: str | None = None
    strict_schemas: bool = True
    """Whether the server constrains decoding by JSON Schemas marked ``strict``."""
    logprobs: bool = False
    """Whether the server returns log-probabilities."""
    vision: bool | None = None
    """Whether the model takes images; None: as the server declares (``learn``)."""
    context_length: int | None = None
    reads_plans: bool = True
    """Whether runs on this model are planned."""
    own: bool = False
    """Whether the server is a flightloop platform that this process trusts: it gets the agent's ``call_confidence``,
    and its confidences are believed. From any other server they would be claims."""
    timeout_s: float = 120.0
    """Longest time without data, in seconds."""


class RemoteChatModel:
    """``ChatModel`` over HTTP. Close it with :meth:`close`.

    Args:
        config: the server.
        client: HTTP client, for tests and proxies; a new one by default. ``close`` closes it.
    """

    def __init__(self, config: RemoteConfig, client: httpx.AsyncClient | None = None) -> None:
        self._config = config
        self._parts = frozenset({"text", IMAGES} if config.vision else {"text"})
        self._url = base_url(config.url)
        self._base = _shown(self._url)
        headers = {"authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        timeout = httpx.Timeout(config.timeout_s, connect=min(10.0, config.timeout_s))
        self._client = client or httpx.AsyncClient(timeout=timeout, headers=headers)

    @property
    def capabilities(self) -> Capabilities:
        config = self._config
        return Capabilities(
            json_schema=config.strict_schemas,
            logprobs=config.logprobs,
            parts=self._parts,
            context_length=config.context_length,
            reads_plans=config.reads_plans,
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Streams the answer. Raises the errors listed in ``ChatModel``."""
        most = (request.token_limit or self._config.context_length or MOST_LOGPROBS) if self._logprobs(request) else 0
        normaliser, confidence = Normaliser(most, request.top_logprobs, own=self._config.own), _Confidence()
        with self._converted_errors():
            async with self._opened("POST", "/chat/completions", self._payload(request)) as response:
                async for data in _events(response):
                    with on_behalf_of(request.flightloop.tags.tenant_id):
                        chunk = await aside(len(data), self._chunk, normaliser, data)
                    yield confidence.add(chunk)
        if not normaliser.finished:
            raise ModelUnavailable("the model server ended the stream before the answer was complete")

    async def models(self) -> list[ModelCard]:
        """Models that the server lists. If a name is configured, only that one, listed or not."""
        try:
            with self._converted_errors():
                async with asyncio.timeout(self._config.timeout_s), self._opened("GET", "/models") as response:
                    told = await _beginning(response, MOST_OF_LIST)
            cards = await aside(len(told), listed_models, told)
        except TimeoutError as error:
            raise ModelUnavailable(f"{self._base}/models gave no answer in {self._config.timeout_s:g} s") from error
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ModelUnavailable(
                f"{self._base}/models returned an invalid list of models, or more than {MOST_MODELS}"
            ) from error
        name = self._config.name
        if name is None:
            return cards
        return [card for card in cards if card.id == name] or [ModelCard(id=name, owned_by="remote")]

    async def learn(self, name: str) -> None:
        """Asks the server whether the model takes images, unless ``vision`` says it. No answer means no."""
        if self._config.vision is not None:
            return
        try:
            cards = await self.models()
        except FlightloopError as error:
            log.warning("the server does not tell whether the model takes images", url=self._base, told=error.message)
            return
        self._parts |= {part for card in cards if card.id == name for part in card.parts}

    async def close(self) -> None:
        await self._client.aclose()

    # -- requests ---------------------------------------------------------------------------------

    def _payload(self, request: ChatRequest) -> dict[str, Any]:
        self._refuse_unsupported(request)
        payload = request.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"flightloop", "n", "subject"}
        )
        payload["model"] = self._config.name or request.model
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
        if not payload.get("tools"):
            for field in ("tools", "tool_choice", "parallel_tool_calls"):
                payload.pop(field, None)
        if not self._logprobs(request):
            payload.pop("logprobs", None)
            payload.pop("top_logprobs", None)
        for field in ("stop", "ignore_eos", "frequency_penalty", "presence_penalty"):
            if not payload[field]:
                del payload[field]
        for message, asked in zip(payload["messages"], request.messages, strict=True):
            if asked.role == "assistant" and asked.name == PLAN_NAME:
                message["content"] = plan_in_words(asked.text)
            message.setdefault("content", None)  # OpenAI requires the field even in a message with calls only
            for call, made in zip(message.get("tool_calls", ()), asked.tool_calls or (), strict=True):
                call["function"]["arguments"] = _as_json(made.function)
        level = request.flightloop.call_confidence
        if self._config.own and level is not None:
            payload["flightloop"] = {"call_confidence": level}
        self._mark_strict(payload)
        return payload

    def _logprobs(self, request: ChatRequest) -> bool:
        """Whether log-probabilities are requested from the server."""
        return request.logprobs and self._config.logprobs

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
                if part.type not in self._parts:
                    known = ", ".join(sorted(self._parts))
                    raise UnsupportedContent(
                        f"the model takes no {part.type} parts; it accepts: {known}", param=f"messages[{index}].content"
                    )

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, payload: dict[str, Any] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Opens a streamed response. Closing it early makes the server stop decoding."""
        plain = {"accept-encoding": "identity"}  # a small compressed body could expand to gigabytes
        async with self._client.stream(method, f"{self._url}{path}", json=payload, headers=plain) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ModelUnavailable(f"{self._base} sends compressed responses although the request forbids it")
            if response.status_code >= 400:
                raise self._error(response, await _beginning(response, MOST_OF_ERROR))
            yield response

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        """Converts HTTP errors to ModelUnavailable. Protocol errors quote the server, so their text is only logged."""
        try:
            yield
        except (httpx.ConnectError, httpx.TimeoutException) as error:
            told = str(error) or type(error).__name__
            raise ModelUnavailable(f"no answer from the model server {self._base}: {told}") from error
        except httpx.HTTPError as error:
            log.warning("no answer from the model server", url=self._base, told=str(error)[:MOST_LOGGED])
            raise ModelUnavailable(f"no answer from the model server {self._base}: {type(error).__name__}") from None

    # -- answers ----------------------------------------------------------------------------------

    def _chunk(self, normaliser: Normaliser, data: str) -> ChatChunk:
        try:
            document = whole(json.loads(data))
            if isinstance(document, dict) and document.get("error"):
                raise server_error(self._base, 500, data)
            return normaliser.chunk(document)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelUnavailable(f"{self._base} returned an invalid chat chunk") from error

    def _error(self, response: httpx.Response, told: bytes) -> FlightloopError:
        status, config = response.status_code, self._config
        if status == 404 and config.name:
            return ConfigError(
                f"{self._base} has no model {config.name!r}, or the path is wrong:"
                " check FLIGHTLOOP_MODEL_NAME and FLIGHTLOOP_MODEL_URL"
            )
        return server_error(
            self._base,
            status,
            told.decode(errors="replace"),
            retry_after=response.headers.get("retry-after"),
            context_length=config.context_length,
        )


def _as_json(function: FunctionCall) -> str:
    """A call's arguments: unchanged if valid, else as a JSON object, because vLLM and Ollama reject invalid JSON."""
    try:
        function.parsed()
    except ValueError:
        return json.dumps(function.as_object(), ensure_ascii=False)
    return function.arguments or "{}"


async def _beginning(response: httpx.Response, most: int) -> bytes:
    """Reads the body; stops soon after ``most`` bytes."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most:
            break
    return bytes(body)


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """Data of the server-sent events up to ``[DONE]``."""
    decoder, read = SSEDecoder(MOST_OF_EVENT), 0
    async for piece in response.aiter_bytes():
        read += len(piece)
        if read > MOST_BYTES:
            raise ModelUnavailable(f"the model server's answer exceeds {MOST_BYTES} bytes")
        try:
            for event in decoder.push(piece):
                if event.data == _DONE:
                    return
                yield event.data
        except EventTooLong as error:
            raise ModelUnavailable(f"the model server sent an event of more than {MOST_OF_EVENT} bytes") from error


class _Confidence:
    """Confidence of an answer: for calls the probability of all tokens together, for a text the mean of a token."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, chunk: ChatChunk) -> ChatChunk:
        """Counts a chunk's log-probabilities, and adds the confidence to the last chunk if it has none."""
        for choice in chunk.choices:
            for token in choice.logprobs.content if choice.logprobs else ():
                self._sum, self._count = self._sum + token.logprob, self._count + 1
            if choice.finish_reason is not None and self._count and chunk.flightloop is None:
                whole = self._sum if choice.finish_reason == "tool_calls" else self._sum / self._count
                sure = math.exp(min(0.0, whole)) if math.isfinite(whole) else None
                chunk.flightloop = ResponseExtension(confidence=sure)
        return chunk


def base_url(url: str) -> str:
    """``url`` without trailing slash, and with ``/v1`` if it has no path."""
    trimmed = url.rstrip("/")
    return trimmed if httpx.URL(trimmed).path.strip("/") else f"{trimmed}/v1"


def _shown(url: str) -> str:
    """A URL without credentials, for error messages that clients see."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
