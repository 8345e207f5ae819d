"""Converts chunks of OpenAI-compatible servers to the wire types.

Deviations seen in practice: ``null`` where OpenAI omits a field, whole tool calls without ``index`` or ``id``,
``function_call`` and ``eos`` as finish reasons, no ``created``, arguments as an object.
"""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from typing import Any

import structlog
from pydantic import ValidationError

from agent.models.server_error import MOST_LOGGED
from flightloop.chat import ChatChunk, Usage

MOST_TOKENS = 10**8
"""Largest credible token count of a request. The limit keeps sums exact in every JSON reader."""
LONGEST_TOKEN = 256
"""Maximum length of ``bytes`` of a log-probability token; longer ones are dropped."""
log = structlog.get_logger(__name__)
_FINISH = {"function_call": "tool_calls", "tool_calls": "tool_calls", "length": "length", "max_tokens": "length"}


class Normaliser:
    """Normalises the chunks of one answer. Tool calls keep their first index and id.

    ``finished`` becomes true with the first finish reason.

    Args:
        logprobs: maximum number of tokens whose log-probabilities are kept, to bound memory.
        alternatives: maximum number of alternatives (``top_logprobs``) kept per token.
        own: whether the server is a trusted flightloop platform, whose confidences are kept.
    """

    def __init__(self, logprobs: int = 0, alternatives: int = 0, *, own: bool = False) -> None:
        self.finished = False
        self._own = own
        self._logprobs, self._alternatives = logprobs, alternatives
        self._id = ""
        self._indexes: dict[str, int] = {}

    def chunk(self, document: Any) -> ChatChunk:
        """Normalises a chunk. Raises ValueError (also ValidationError), KeyError, TypeError, AttributeError or
        OverflowError if it is invalid."""
        if not isinstance(document, dict):
            raise TypeError("a chunk must be a JSON object")
        plain = _without_nulls(document)
        self._id = plain.get("id") or self._id or _new_id("chatcmpl")
        choices = [self._choice(choice) for choice in plain.get("choices", [])]
        usage = _usage(plain.get("usage"))
        told = _confidence(plain.pop("flightloop", None)) if self._own else None
        return ChatChunk.model_validate(
            {
                **_envelope(plain),
                "id": self._id,
                "object": "chat.completion.chunk",
                "choices": choices,
                "usage": usage,
                "flightloop": told,
            }
        )

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta = dict(choice.get("delta", {}))
        if delta.get("role") != "assistant":
            delta.pop("role", None)
        if "tool_calls" in delta:
            delta["tool_calls"] = [self._call(call) for call in delta["tool_calls"]]
        reason = _finish_reason(choice.get("finish_reason"), bool(self._indexes))
        self.finished = self.finished or reason is not None
        return {**choice, "delta": delta, "finish_reason": reason, "logprobs": self._kept(choice.get("logprobs"))}

    def _kept(self, given: Any) -> dict[str, Any] | None:
        content = given.get("content") if isinstance(given, dict) else None
        kept = content[: self._logprobs] if isinstance(content, list) else []
        self._logprobs -= len(kept)
        return {"content": [self._token(token) for token in kept]} if kept else None

    def _token(self, token: dict[str, Any]) -> dict[str, Any]:
        return {**_token(token), "top_logprobs": [*map(_token, token.get("top_logprobs", [])[: self._alternatives])]}

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = _function(call.get("function", {}))
        if "index" in call:
            position = int(call["index"])
            begins = position not in self._indexes.values()
            identity = call.get("id") or (_new_id("call") if begins else None)
            if identity:
                self._indexes.setdefault(identity, position)
        else:  # whole calls in sequence
            identity = call.get("id") or _new_id("call")
            position = self._indexes.setdefault(identity, len(self._indexes))
        kind = "function" if identity else None
        return {"index": position, "id": identity, "type": kind, "function": function}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {key: token[key] for key in ("token", "logprob", "bytes") if key in token}
    if len(told.get("bytes", ())) > LONGEST_TOKEN:
        del told["bytes"]
    return told


def _confidence(extension: Any) -> dict[str, Any] | None:
    """Of a platform's own fields those about confidence; a stop is the platform's, not this process's."""
    given = extension if isinstance(extension, dict) else {}
    return {name: given[name] for name in ("confidence", "withheld") if name in given} or None


def _envelope(plain: dict[str, Any]) -> dict[str, Any]:
    plain.pop("flightloop", None)  # only our own engine may report a stop or a confidence here
    return {**plain, "created": int(plain.get("created", time.time())), "model": str(plain.get("model", ""))}


def _usage(given: Any) -> Usage | None:
    """Token usage; None if it is missing or its counts are not credible. Callers then estimate it."""
    if given is None:
        return None
    with suppress(ValidationError):
        usage = Usage.model_validate(given)
        counts = (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.prompt_tokens_details.cached_tokens,
        )
        # Some servers send zeros in place of what they did not count; every prompt has a token.
        if usage.prompt_tokens > 0 and all(0 <= count <= MOST_TOKENS for count in counts):
            return usage
    log.warning("the model server reports impossible token counts", usage=str(given)[:MOST_LOGGED])
    return None


def _finish_reason(given: Any, calls: bool) -> str | None:
    if given is None:
        return None
    if given == "content_filter":
        return "content_filter"
    return _FINISH.get(str(given), "tool_calls" if calls else "stop")


def _function(function: dict[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments")
    return {
        **function,
        "arguments": arguments if arguments is None or isinstance(arguments, str) else json.dumps(arguments),
    }


def _without_nulls(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    return [_without_nulls(item) for item in node] if isinstance(node, list) else node


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"
