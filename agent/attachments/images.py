"""Takes images in: checks them by content, drops their metadata and reads them, all in a tool host.

The host bounds time and memory and has no network, except to fetch an image from a host on the egress list.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from pydantic import ValidationError

from flightloop.content import ImagePart, ImageUrl, Part
from flightloop.errors import InvalidRequest, Overloaded, UnsupportedContent
from flightloop.limits import IMAGE_URL_CHARS, IMAGES
from flightloop.readings import ImageReading
from flightloop.tool import ToolContext
from guardrails.turns import Turns
from tools.host import ToolOutcome

AT_ONCE = 2
"""Images that are taken in at the same time; each may take a processor for seconds."""
WAITING = 16
"""Requests of one tenant that may wait for their turn."""
WAITING_EACH = 4
"""Requests of one subject that may wait for their turn, so that the tenant's other subjects get theirs."""
RETRY_S = 5.0
STORED_CHARS = 6 * 1024**2
"""Characters of all images of a content as stored, since an event of the journal has them."""
KEPT = 16
"""Images that are remembered, because the client of a completion sends the whole conversation each time."""
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}
"""Media types of stored images."""

_Found = tuple[str, ImageReading | None]
"""Data URL of a stored image, and what was read in it."""


class ImageHosts(Protocol):
    """Hosts of the tools in ``tools.vision.hosted``; implemented by ``tools.host.ToolHosts``."""

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Sender:
    """On whose behalf images are taken in, and the hosts from which they may be fetched."""

    tenant_id: str
    egress: Sequence[str] = ()
    policy: str = "default"
    """Name of the policy that has the egress list."""
    subject: str | None = None
    """Id of the end user for whom the tenant acts."""


@dataclass(frozen=True)
class TakenIn:
    """Content whose images are data URLs without metadata."""

    content: list[Part]
    readings: list[ImageReading] = field(default_factory=list)
    """What was read, one for each image in order; empty if nothing was to be read."""


class Images:
    """Takes in the images of requests.

    Args:
        hosts: the processes that decode and read; ``close`` closes them.
        data: folder of the deployment's tool data.
    """

    def __init__(self, hosts: ImageHosts, data: Path) -> None:
        self._hosts = hosts
        self._data = data
        self._turns = Turns(AT_ONCE)
        self._waiting: Counter[tuple[str, str]] = Counter()
        """Requests that wait, by tenant and subject."""
        self._kept: dict[tuple[str, str, bool], _Found] = {}

    async def take(self, content: Sequence[Part], sender: Sender, where: str, *, read: bool) -> TakenIn:
        """Takes in the images of a content; other parts stay as they are.

        Args:
            where: name of the content's field, for errors.
            read: whether to read the images, too.

        Raises:
            InvalidRequest: an image is damaged, above a limit, of another format, or must not be fetched.
            UnsupportedContent: an image can't be processed here.
            Overloaded: too many images of the tenant, or of its subject, wait.
        """
        taken = [
            await self._taken(part, sender, f"{where}[{place}]", read=read) if isinstance(part, ImagePart) else part
            for place, part in enumerate(content)
        ]
        parts = [one.part if isinstance(one, _Taken) else one for one in taken]
        size = sum(len(part.image_url.url) for part in parts if isinstance(part, ImagePart))
        if size > STORED_CHARS:
            raise InvalidRequest(
                f"{where}: the images take {size} characters in base64; the limit is {STORED_CHARS} together."
                " Send fewer or smaller ones",
                param=where,
            )
        readings = [one.reading for one in taken if isinstance(one, _Taken) and one.reading is not None]
        return TakenIn(parts, readings)

    async def close(self) -> None:
        await self._hosts.close()

    async def _taken(self, part: ImagePart, sender: Sender, where: str, *, read: bool) -> _Taken:
        async with self._turn(sender):
            data = await self._data_of(part.image_url.url, sender, where)
            key = (sender.tenant_id, hashlib.sha256(data.encode()).hexdigest(), read)
            found = self._kept.get(key)
            if found is None:
                found = await self._processed(data, sender, where, read=read)
                self._keep(key, found)
        url, reading = found
        return _Taken(ImagePart(image_url=ImageUrl(url=url, detail=part.image_url.detail)), reading)

    @asynccontextmanager
    async def _turn(self, sender: Sender) -> AsyncIterator[None]:
        whose = (sender.tenant_id, sender.subject or "")
        if self._turns.waits(sender.tenant_id) >= WAITING:
            raise Overloaded(f"{WAITING} images are already waiting, which is the limit", retry_after=RETRY_S)
        if sender.subject is not None and self._waiting[whose] >= WAITING_EACH:
            told = f"{WAITING_EACH} images of the subject {sender.subject} are already waiting, which is the limit"
            raise Overloaded(told, retry_after=RETRY_S)
        self._waiting[whose] += 1
        try:
            await self._turns.take(sender.tenant_id)
        finally:
            self._waiting[whose] -= 1
            self._waiting += Counter()  # drops those with none
        try:
            yield
        finally:
            self._turns.give_back(sender.tenant_id)

    async def _processed(self, data: str, sender: Sender, where: str, *, read: bool) -> _Found:
        told = await self._call("take_image", {"data": data, "read": read}, sender, where)
        if "missing" in told:
            raise UnsupportedContent(f"{where}: {told['missing']}", param=where)
        try:
            base64.b64decode(told["data"], validate=True)
            reading = ImageReading.model_validate(told["reading"]) if read else None
            return f"data:{TYPES[told['type']]};base64,{told['data']}", reading
        except (KeyError, TypeError, ValueError, ValidationError):
            raise UnsupportedContent(f"{where}: the image could not be processed", param=where) from None

    def _keep(self, key: tuple[str, str, bool], found: _Found) -> None:
        self._kept[key] = found
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    async def _data_of(self, url: str, sender: Sender, where: str) -> str:
        """The image's file in base64."""
        if url[:5].lower() == "data:":
            head, comma, body = url.partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise InvalidRequest(f"{where}: a data URL must look like data:image/png;base64,…", param=where)
            return body
        if len(url) > IMAGE_URL_CHARS or not url.lower().startswith(("http://", "https://")):
            raise InvalidRequest(
                f"{where}: an image must be a data URL, or an address of at most {IMAGE_URL_CHARS} characters that"
                " begins with https://",
                param=where,
            )
        if not sender.egress:
            raise InvalidRequest(
                f"{where}: images are not fetched from other hosts, because egress.hosts of the policy"
                f" {sender.policy} is empty. Send the image itself as a data URL",
                param=where,
            )
        told = await self._call("fetch_image", {"url": url}, sender, where)
        return str(told.get("data"))

    async def _call(self, tool: str, arguments: dict[str, Any], sender: Sender, where: str) -> dict[str, Any]:
        run = f"image_{uuid4().hex}"
        context = ToolContext(run, sender.tenant_id, "", "", run, self._data, egress=tuple(sender.egress))
        outcome = await self._hosts.call(tool, arguments, context)
        if not outcome.ok or not isinstance(outcome.content, dict):
            told = outcome.error or "it is too large"
            raise UnsupportedContent(f"{where}: the image could not be processed: {told}", param=where)
        if "refused" in outcome.content:
            raise InvalidRequest(f"{where}: {outcome.content['refused']}", param=where)
        return outcome.content


@dataclass(frozen=True)
class _Taken:
    part: ImagePart
    reading: ImageReading | None


def check_number(contents: Sequence[Sequence[Part]], where: str) -> None:
    """Raises InvalidRequest if a request has too many images."""
    count = sum(isinstance(part, ImagePart) for content in contents for part in content)
    if count > IMAGES:
        raise InvalidRequest(f"{where}: {count} images exceed the limit of {IMAGES}", param=where)
