"""The trace id of a run: its caller's, or derived from the run's id, so that any process can find it."""

from __future__ import annotations

import re
from hashlib import blake2b

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid_traceparent(header: str | None) -> str | None:
    """The header if it is valid, else None: W3C trace context, 3.2.2, requires that invalid ones are ignored."""
    return header if header and _TRACEPARENT.fullmatch(header) else None


def trace_id_of(run_id: str, traceparent: str | None = None) -> str:
    """Trace id of a run: 32 hexadecimal digits, never all zero (which W3C trace context forbids).

    Args:
        traceparent: header of the caller's span that the run belongs to.
    """
    if traceparent is not None and (found := _TRACEPARENT.fullmatch(traceparent)):
        return found[1]
    digest = blake2b(run_id.encode(), digest_size=16, person=b"flightloop-run").hexdigest()
    return digest if int(digest, 16) else "0" * 31 + "1"
