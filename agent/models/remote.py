"""A model behind any OpenAI-compatible URL. Needs neither torch nor ray."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from agent.chat_model import Capabilities
from agent.models.lenient import Normaliser, as_completion
from flightloop.chat import ChatChunk, ChatCompletion, ChatRequest, ModelCard, ResponseExtension
from flightloop.errors import (
    ConfigError,
    ContextTooLong,
    FlightloopError,
    InvalidRequest,
    ModelUnavailable,
    Overloaded,
    UnsupportedContent,
    error_for,
)
from flightloop.wellformed import whole

_DONE = "[DONE]"
_LONGEST_WAIT_S = 30.0


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
        attempts: tries before the first byte of an answer.
    """

    url: str
    name: str | None = None
    api_key: str | None = None
    strict_schemas: bool = True
    logprobs: bool = False
    parts: frozenset[str] = frozenset({"text"})
    context_length: int | None = None
    timeout_s: float = 120.0
    attempts: int = 3
    backoff_s: float = 0.5


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
        """Raises what ``ChatModel`` lists; after the first chunk nothing is tried again."""
        opened = await self._retrying(self._open, self._payload(request, stream=True))
        normaliser = Normaliser()
        logprobs: list[float] = []
        try:
            data: str | None = opened.first
            while data is not None and data != _DONE:
                yield _with_confidence(self._chunk(normaliser, data), logprobs)
                data = await opened.next()
        finally:
            await opened.response.aclose()  # tells the server to stop decoding
        if not normaliser.finished:
            raise ModelUnavailable("the model server ended the stream before the answer was complete")

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        response = await self._retrying(self._post, self._payload(request, stream=False))
        try:
            return as_completion(whole(response.json()))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelUnavailable(f"{self._base} answered with what is no chat completion") from error

    async def models(self) -> list[ModelCard]:
        """The models that the server lists; the configured name alone if it lists none."""
        try:
            response = await self._retrying(self._get, "/models")
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

    def _payload(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        self._refuse_unsupported(request)
        payload = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"flightloop", "n"})
        payload["model"] = self._config.name or request.model
        payload["stream"] = stream
        if stream:
            payload["stream_options"] = {"include_usage": True}
        else:
            payload.pop("stream_options", None)
        if not payload.get("tools"):
            for field in ("tools", "tool_choice", "parallel_tool_calls"):
                payload.pop(field, None)
        if not (request.logprobs and self._config.logprobs):
            payload.pop("logprobs", None)
            payload.pop("top_logprobs", None)
        if not request.stop:
            payload.pop("stop", None)
        for message in payload["messages"]:
            message.setdefault("content", None)  # a turn of calls alone: OpenAI wants the field all the same
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
                        f"the model takes no {part.type} parts; it takes: {known}", param=f"messages.{index}.content"
                    )

    async def _open(self, payload: dict[str, Any]) -> _Opened:
        request = self._client.build_request("POST", f"{self._base}/chat/completions", json=payload)
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code >= 400:
                await response.aread()
                raise self._error(response)
            opened = _Opened(response)
            opened.first = await opened.next()
            if opened.first is None:
                raise ModelUnavailable(f"{self._base} answered with an empty stream")
            return opened
        except BaseException:
            await response.aclose()
            raise

    async def _post(self, payload: dict[str, Any]) -> httpx.Response:
        return self._checked(await self._client.post(f"{self._base}/chat/completions", json=payload))

    async def _get(self, path: str) -> httpx.Response:
        return self._checked(await self._client.get(f"{self._base}{path}"))

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code >= 400:
            raise self._error(response)
        return response

    async def _retrying(self, call: Any, argument: Any) -> Any:
        retrying = AsyncRetrying(
            retry=retry_if_exception(_transient),
            stop=stop_after_attempt(self._config.attempts),
            wait=self._wait,
            reraise=True,
        )
        try:
            return await retrying(call, argument)
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"no answer from the model server {self._base}: {_told(error)}") from error

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, FlightloopError) and error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT_S)
        return wait_random_exponential(multiplier=self._config.backoff_s, max=8.0)(state)

    # -- answers ----------------------------------------------------------------------------------

    def _chunk(self, normaliser: Normaliser, data: str) -> ChatChunk:
        try:
            document = whole(json.loads(data))
            if isinstance(document, dict) and document.get("error"):
                raise _meaning(error_for(500, document))
            return normaliser.chunk(document)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelUnavailable(f"{self._base} sent what is no chat chunk") from error

    def _error(self, response: httpx.Response) -> FlightloopError:
        try:
            body: Any = response.json()
        except ValueError:
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


class _Opened:
    """A stream whose first event has arrived."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.first: str | None = None
        self._lines = response.aiter_lines()

    async def next(self) -> str | None:
        """The data of the next server-sent event; None at the end.

        Raises:
            ModelUnavailable: the connection broke.
        """
        try:
            async for line in self._lines:
                if line.startswith("data:"):
                    return line[5:].strip()
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"the model server's stream broke: {_told(error)}") from error
        return None


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


def _transient(error: BaseException) -> bool:
    return isinstance(error, httpx.TransportError | Overloaded | ModelUnavailable)


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


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
