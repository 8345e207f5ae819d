"""Whether a request could be served now."""

from __future__ import annotations

import asyncio

from agent.chat_model import ChatModel
from agent.journal import Journal
from flightloop.errors import FlightloopError

TIMEOUT_S = 3.0
"""Who asks waits a few seconds at most: a replica that is being replaced keeps its callers waiting."""


async def not_ready(journal: Journal, model: ChatModel | None, timeout_s: float = TIMEOUT_S) -> list[str]:
    """What a request could not be served for, a sentence each.

    Args:
        model: None where asking it would wake it up.
        timeout_s: longest wait for either.
    """
    missing = []
    try:
        async with asyncio.timeout(timeout_s):
            await journal.interrupt_snapshot()
    except Exception as error:
        missing.append(f"the journal cannot be read: {str(error) or type(error).__name__}")
    if model is None:
        return missing
    try:
        async with asyncio.timeout(timeout_s):
            await model.models()
    except TimeoutError:
        missing.append(f"the model gives no answer within {timeout_s:g} s")
    except FlightloopError as error:
        missing.append(error.message)
    return missing
