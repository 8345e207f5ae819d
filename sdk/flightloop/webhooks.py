"""Signing and verification of webhooks. Receivers must call :func:`verify` before they trust the body.

Source: Standard Webhooks specification 1.0.0 (standardwebhooks.com): headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``, HMAC-SHA256 over ``id.timestamp.body``, secrets ``whsec_`` + base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from flightloop.content import Wire

PREFIX = "whsec_"
TOLERANCE_S = 300.0


class InvalidWebhook(ValueError):
    """The request is not a webhook, too old, or wrongly signed. Respond with status 400 and do nothing else."""


class WebhookEvent(Wire):
    """Body of a webhook."""

    type: str
    """Type of the event: ``run.ended``, ``approval.requested`` …"""
    timestamp: datetime
    """Time of the event."""
    data: dict[str, Any]
    """The event with ``tenant_id``; see ``flightloop.events``."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Headers of a signed webhook.

    Args:
        secret: ``whsec_`` + base64 of 24 to 64 bytes.
        timestamp: time of this attempt in seconds since 1970.

    Raises:
        ValueError: the secret is malformed.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{_signature(key_of(secret), message_id, str(timestamp), body)}",
    }


def verify(
    headers: Mapping[str, str], body: bytes, secret: str, *, tolerance_s: float = TOLERANCE_S, now: float | None = None
) -> WebhookEvent:
    """Verifies a webhook and returns its event.

    A webhook may arrive more than once with the same ``webhook-id``: remember the ids that were handled.

    Args:
        headers: headers of the request; names are case-insensitive.
        body: raw bytes of the request.
        tolerance_s: largest difference between ``webhook-timestamp`` and now.
        now: seconds since 1970; None: the current time.

    Raises:
        InvalidWebhook: the webhook was not signed with the secret, is too old, or contains no event.
        ValueError: the secret is malformed.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, told, signatures = (given[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        distance = abs((time.time() if now is None else now) - int(told))
    except KeyError as error:
        raise InvalidWebhook(f"the header {error.args[0]} is missing") from None
    except (ValueError, OverflowError):
        raise InvalidWebhook("webhook-timestamp is not a number of seconds") from None
    expected = _signature(key_of(secret), message_id, told, body).encode()
    versions = [signature.partition(",") for signature in signatures.split()]  # several during a change of the secret
    if not any(version == "v1" and hmac.compare_digest(_bytes(found), expected) for version, _, found in versions):
        raise InvalidWebhook("the signature was not made with this secret")
    if distance > tolerance_s:
        raise InvalidWebhook(f"webhook-timestamp is {distance:.0f} s from now; the limit is {tolerance_s:g} s")
    try:
        return WebhookEvent.model_validate_json(body)
    except ValidationError:
        raise InvalidWebhook("the body is not an event") from None


def key_of(secret: str) -> bytes:
    """The key bytes of a ``whsec_`` secret. Raises ValueError if it is malformed."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"a secret must be {PREFIX} followed by the base64 of 24 to 64 random bytes")
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = _bytes(f"{message_id}.{timestamp}.") + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _bytes(header: str) -> bytes:
    """A header as bytes. Some servers decode bytes that are not UTF-8 to lone surrogates."""
    return header.encode("utf-8", "surrogatepass")
