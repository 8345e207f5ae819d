"""Takes images in without a sandbox, for tests."""

from __future__ import annotations

from pathlib import Path

from agent.attachments.images import Images
from agent.loop.local_hosts import LocalHosts
from flightloop.tool import tool_of
from tools.vision import hosted


def local_hosts() -> LocalHosts:
    """Hosts of the tools that take images in. They run in this process."""
    return LocalHosts([found for function in hosted.TOOLS if (found := tool_of(function))])


def local_images(hosts: LocalHosts | None = None) -> Images:
    return Images(hosts or local_hosts(), Path())
