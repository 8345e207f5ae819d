"""What MCP servers said of their tools when a person looked: ``mcp.lock.json``.

A model reads a tool's description and acts on it, so a server that changes one later could tell the model what to do. A
tool is known as it was pinned, and one that has changed since is not called until it is pinned again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.tool import Tool, ToolSpec
from tools.mcp.servers import FILE as SERVERS
from tools.mcp.servers import Server
from tools.registry import performed_elsewhere

FILE = "mcp.lock.json"
LONGEST_NAME = 64
"""Characters of a tool's name that models' APIs take."""


@dataclass(frozen=True)
class Pin:
    """One tool as its server described it. ``parameters`` is its JSON Schema."""

    description: str
    parameters: dict[str, Any]

    @property
    def sha256(self) -> str:
        plain = json.dumps([self.description, self.parameters], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()


Pins = Mapping[str, Mapping[str, Pin]]
"""By server and the server's own name of the tool."""


def read_pins(folder: Path) -> Pins:
    """None without the file. Raises ConfigError."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        document = json.loads(plain.read_text(path))
        return {
            server: {name: Pin(str(tool["description"]), dict(tool["parameters"])) for name, tool in tools.items()}
            for server, tools in document.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); make it again: python -m agent mcp pin") from error


def write_pins(folder: Path, pins: Pins) -> Path:
    """Raises OSError."""
    path = folder / FILE
    document = {
        server: {name: {"description": pin.description, "parameters": pin.parameters} for name, pin in tools.items()}
        for server, tools in pins.items()
    }
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    handle, draft = tempfile.mkstemp(dir=folder, prefix=f".{FILE}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(draft, 0o644)
        os.replace(draft, path)  # a link in its place is replaced, not followed
    except BaseException:
        os.unlink(draft)
        raise
    return path


@dataclass(frozen=True)
class McpTool:
    """A tool, and where it is."""

    spec: ToolSpec
    server: str
    name: str
    pin: Pin

    def as_tool(self) -> Tool:
        return performed_elsewhere(self.spec)


def known_as(server: str, tool: str) -> str:
    """What agents call a server's tool: ``SERVER_TOOL``, with an underscore for each character that a model's API does
    not take in a name.

    Raises:
        ConfigError: the name is too long for these APIs.
    """
    name = re.sub(r"\W", "_", f"{server}_{tool}", flags=re.ASCII)
    if len(name) > LONGEST_NAME:
        problem = f"agents would call it {name}, which has more than {LONGEST_NAME} characters"
        raise ConfigError(f"{SERVERS}: {server}: {tool}: {problem}; give the server a shorter name")
    return name


def pinned_tools(folder: Path, servers: Mapping[str, Server]) -> list[McpTool]:
    """Every tool that is named and pinned.

    Raises:
        ConfigError: one is named but not pinned, or has too long a name.
    """
    pins = read_pins(folder)
    found = []
    for server, entry in servers.items():
        for name, effect in entry.tools.items():
            pin = pins.get(server, {}).get(name)
            if pin is None:
                raise ConfigError(f"{folder / FILE}: has no tool {name} of {server}; run: python -m agent mcp pin")
            spec = ToolSpec(
                name=known_as(server, name),
                description=pin.description,
                parameters=pin.parameters,
                effect=effect,
                timeout_s=entry.timeout_s,
                returns_untrusted=True,
            )
            found.append(McpTool(spec, server, name, pin))
    return found
