"""Converts an OpenAI request to an engine request."""

from __future__ import annotations

from collections.abc import Callable

from flightloop.chat import ChatRequest
from flightloop.errors import InvalidRequest, NotFound
from model.engine.grammar import grammar_for
from model.engine.request import EngineRequest, SamplingParams
from model.engine.vocabulary import Vocabulary

DEFAULT_MAX_TOKENS = 512
"""Default limit of an answer in tokens; the context limit may end the answer sooner."""


def engine_request(
    request: ChatRequest,
    request_id: str,
    model: str,
    vocabulary: Vocabulary,
    limit: int,
    grammar_of: Callable[[ChatRequest], str | None] | None = None,
) -> EngineRequest:
    """Validates a request, renders its prompt and compiles its grammar. Takes milliseconds.

    Args:
        request: the client's request.
        request_id: unique in the engine.
        model: name of the served model.
        vocabulary: the model's vocabulary.
        limit: maximum tokens of the context.
        grammar_of: returns the grammar of a request; `model.engine.compiler` limits its time. None: compiled here.

    Raises:
        NotFound: the request names another model.
        InvalidRequest: another field is invalid; ``param`` names it if possible. Includes the subclasses
            ContextTooLong and UnsupportedContent.
    """
    if request.model != model:
        raise NotFound(f"model {request.model!r} is not served here; known: {model}", param="model")
    if any(not stop for stop in request.stop):
        raise InvalidRequest("stop must not contain empty strings", param="stop")
    grammar = grammar_of(request) if grammar_of else grammar_for(request, vocabulary.chat.calls)
    if grammar is not None:
        vocabulary.grammars.matcher(grammar)  # compiled here, so that the engine finds it in the cache
    extension = request.flightloop
    return EngineRequest(
        id=request_id,
        prompt=tuple(vocabulary.chat.encode(request, limit)),
        sampling=SamplingParams(
            max_tokens=request.token_limit or DEFAULT_MAX_TOKENS,
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            stop=tuple(request.stop),
            logprobs=request.logprobs,
            top_logprobs=request.top_logprobs if request.logprobs else 0,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            greedy_calls=request.temperature is None and bool(request.tools) and request.tool_choice != "none",
            ignore_end=request.ignore_eos,
        ),
        grammar=grammar,
        tags=extension.tags,
        priority=extension.priority,
        epoch=extension.epoch,
        trace_id=_trace_id(extension.traceparent),
    )


def _trace_id(traceparent: str | None) -> str | None:
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None
