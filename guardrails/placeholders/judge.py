"""Hides personal data from the judge too: it is a model, and it reads answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from guardrails.aside import aside
from guardrails.placeholder_policy import PlaceholderPolicy, all_of
from guardrails.placeholders.register import Register
from guardrails.types import Judge

_OTHERS: ContextVar[PlaceholderPolicy | None] = ContextVar("placeholders", default=None)


@contextmanager
def also_masking(policy: PlaceholderPolicy | None) -> Iterator[None]:
    """Inside the context, judges hide what this policy says too: the callers' of a sub-run."""
    token = _OTHERS.set(policy)
    try:
        yield
    finally:
        _OTHERS.reset(token)


def masking_judge(judge: Judge, own: PlaceholderPolicy | None) -> Judge:
    """A judge that reads placeholders. Each prompt is numbered by itself, and the answer is filled in."""

    async def hidden(prompt: str) -> str:
        policy = all_of([own, _OTHERS.get()])
        if policy is None:
            return await judge(prompt)
        register = Register(policy)
        return register.filled(await judge(await aside(len(prompt), register.masked, prompt)))

    return hidden
