"""HTTP client of the guard's rail ``moderation``: OpenAI's ``/v1/moderations``."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
from pydantic import SecretStr

from agent.config import Settings
from guardrails.rail_entries import ModerationEntry
from guardrails.rails.moderation import FLAGGED, Moderate

MOST_BYTES = 1024**2
"""Largest answer of an endpoint."""


def make_moderate(settings: Settings) -> Moderate:
    """Returns a client. It sends ``FLIGHTLOOP_MODERATION_API_KEY``, if set, to the endpoints that policies name."""
    key: SecretStr | None = settings.moderation_api_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    async def moderate(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        body = {"input": text, **({"model": entry.model} if entry.model else {})}
        verify = _certificates() if entry.url.startswith("https:") else False
        # The rail limits the time; nothing is kept between calls, so that a change of the policy needs no restart.
        async with (
            httpx.AsyncClient(verify=verify, follow_redirects=False, timeout=None, trust_env=False) as client,
            client.stream("POST", entry.url, json=body, headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"{entry.address} answered with HTTP {answer.status_code}")
            return scores_of(json.loads(await _read(answer, entry.address)))

    return moderate


def scores_of(answer: Any) -> dict[str, float]:
    """The scores of an answer: ``category_scores``, and 0 or 1 for its own judgement. Raises ValueError."""
    try:
        results = answer["results"]
        scores: dict[str, float] = {}
        for result in results:
            own = {FLAGGED: float(bool(result["flagged"]))} | (result.get("category_scores") or {})
            for name, value in own.items():
                scores[str(name)] = max(scores.get(str(name), 0.0), _share(value))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the moderation endpoint's answer has no results as in OpenAI's API") from error
    if not scores:
        raise ValueError("the moderation endpoint's answer has no result")
    return scores


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"the moderation endpoint returned a score that is not a number from 0 to 1: {value!r}")
    return float(value)


async def _read(answer: httpx.Response, url: str) -> bytes:
    found = bytearray()
    async for piece in answer.aiter_bytes():
        found += piece
        if len(found) > MOST_BYTES:
            raise RuntimeError(f"{url} answered with more than {MOST_BYTES} bytes")
    return bytes(found)


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
