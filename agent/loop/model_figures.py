"""Figures of a model call for the journal: tokens, seconds, cost and confidence."""

from __future__ import annotations

from datetime import datetime

from agent.loop.context import Estimator
from agent.loop.leased_run import LeasedRun
from agent.loop.run_dependencies import RunDependencies
from flightloop.answer import Answer
from flightloop.chat import ResponseExtension, Usage
from flightloop.events import ModelCall

NO_MODEL = ModelCall(model="")
"""Figures of a decision without a model call."""


def model_call_of(
    deps: RunDependencies, answer: Answer, prompt_tokens: int, began: datetime, learned: Estimator
) -> ModelCall:
    """Figures of a finished model call."""
    usage = answer.usage or _usage(prompt_tokens, answer.tokens)
    told = answer.extension or ResponseExtension()
    return ModelCall(
        model=deps.model_name,
        usage=usage,
        seconds=max(0.0, (deps.clock() - began).total_seconds()),
        ttft_seconds=told.ttft_seconds,
        queue_seconds=told.queue_seconds,
        confidence=told.confidence,
        withheld=told.withheld,
        mean_entropy=told.mean_entropy,
        max_entropy=told.max_entropy,
        finish_reason=answer.finish_reason,
        cost=deps.prices.cost(usage),
        chars_per_token=learned.counted,
    )


def unfinished(deps: RunDependencies, leased: LeasedRun) -> ModelCall | None:
    """Record of an interrupted model call, with estimated tokens; None if no answer was being decoded."""
    draft, leased.draft = leased.draft, None
    if draft is None:
        return None
    usage = _usage(draft.prompt_tokens, draft.answer.tokens)
    return ModelCall(model=draft.request.model, usage=usage, cost=deps.prices.cost(usage), finish_reason="interrupted")


def _usage(prompt: int, completion: int) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
