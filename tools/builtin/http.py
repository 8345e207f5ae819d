"""Reads web pages and APIs of hosts on the egress list."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from pydantic import Field

from flightloop.tool import POLICY_EGRESS, ToolContext, ToolRefused, tool
from tools.fetching import fetched

MAX_BYTES = 200_000
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml", "application/ld+json")


@tool(
    effect="pure",
    timeout_s=20,
    permissions=("network",),
    hosts=(POLICY_EGRESS,),
    sinks=("url",),
    returns_untrusted=True,
)
async def http_get(context: ToolContext, url: Annotated[str, Field(min_length=8, max_length=2000)]) -> Any:
    """Read a web page or API by HTTP GET. Only allowed hosts can be reached.

    Args:
        url: address that begins with https://
    """
    return await fetched(url, context.egress, _answer)


async def _answer(url: httpx.URL, response: httpx.Response) -> dict[str, Any]:
    kind = response.headers.get("content-type", "text/plain").split(";")[0].strip().lower()
    if not kind.startswith(TEXT_TYPES):
        raise ToolRefused(f"{url} is {kind}, not text.")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            break
    encoding = response.charset_encoding or "utf-8"
    try:
        text = bytes(body[:MAX_BYTES]).decode(encoding, "replace")
    except (LookupError, UnicodeError):  # no encoding, or one of host names, which decodes no text
        text = bytes(body[:MAX_BYTES]).decode("utf-8", "replace")
    result: dict[str, Any] = {"status": response.status_code, "url": str(url), "type": kind, "text": text}
    if len(body) > MAX_BYTES:
        result["note"] = f"only the first {MAX_BYTES} bytes are shown"
    return result
