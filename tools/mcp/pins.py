"""Pinned descriptions of MCP servers' tools, as a person approved them: ``mcp.lock.json``.

A model reads a tool's description and acts on it, so a server could instruct the model by changing one later. Agents
see the pinned description, and a tool that has changed since is not called until it is pinned again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.schemas import check
from flightloop.tool import Permission, Tool, ToolSpec
from tools.mcp.servers import FILE as SERVERS
from tools.mcp.servers import Server
from tools.registry import performed_elsewhere
from tools.validation import check_schema, unfit_defaults

FILE = "mcp.lock.json"
LONGEST_NAME = 64
"""Longest tool name that models' APIs accept, in characters."""

_OPEN = (
    "additionalProperties", "patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf", "if",
)  # fmt: skip
"""Keywords with which a schema may allow arguments beyond its ``properties``."""


@dataclass(frozen=True)
class Pin:
    """A tool as its server described it. ``parameters`` is its JSON Schema."""

    description: str
    parameters: dict[str, Any]

    @property
    def sha256(self) -> str:
        plain = json.dumps([self.description, self.parameters], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()


Pins = Mapping[str, Mapping[str, Pin]]
"""Pins by server, and by the server's own name of the tool."""


def read_pins(folder: Path) -> Pins:
    """Reads the pins; empty without the file. Raises ConfigError."""
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
        raise ConfigError(f"{path}: cannot be read ({error}); create it again with: python -m agent mcp pin") from error


def write_pins(folder: Path, pins: Pins) -> Path:
    """Writes the pins. Raises OSError."""
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
        os.replace(draft, path)  # replaces a link instead of following it
    except BaseException:
        os.unlink(draft)
        raise
    return path


@dataclass(frozen=True)
class McpTool:
    """A tool of a server."""

    spec: ToolSpec
    server: str
    name: str  # the server's own name of the tool
    pin: Pin  # its approved description

    def as_tool(self) -> Tool:
        return performed_elsewhere(self.spec)


def known_as(server: str, tool: str) -> str:
    """Name of a server's tool for agents: ``SERVER_TOOL``, with underscores for characters that models' APIs don't
    accept in names.

    Raises:
        ConfigError: the name is too long for models' APIs.
    """
    name = re.sub(r"\W", "_", f"{server}_{tool}", flags=re.ASCII)
    if len(name) > LONGEST_NAME:
        problem = f"its name for agents would be {name}, which has more than {LONGEST_NAME} characters"
        raise ConfigError(f"{SERVERS}: {server}: {tool}: {problem}; give the server a shorter name")
    return name


def pinned_tools(folder: Path, servers: Mapping[str, Server]) -> list[McpTool]:
    """The servers' tools that ``mcp.yaml`` lists, with their pinned descriptions.

    Raises:
        ConfigError: a listed tool is not pinned, or its name is too long.
    """
    pins = read_pins(folder)
    found = []
    for server, entry in servers.items():
        for name, listed in entry.tools.items():
            pin = pins.get(server, {}).get(name)
            if pin is None:
                raise ConfigError(f"{folder / FILE}: lacks the tool {name} of {server}; run: python -m agent mcp pin")
            where = f"{server}.tools.{name}"
            try:
                check(pin.parameters)
                check_schema(pin.parameters)
                parameters = _without_unfit_defaults(_closed(pin.parameters))
            except Exception as problem:  # includes RecursionError: the schema comes from the server
                raise ConfigError(f"{folder / FILE}: {where}: its schema: {str(problem)[:500]}") from problem
            try:
                sinks = listed.sinks_among(parameters.get("properties") or {})
            except ValueError as problem:
                raise ConfigError(f"{folder / SERVERS}: {where}: {problem}") from None
            spec = ToolSpec(
                name=known_as(server, name),
                description=pin.description,
                parameters=parameters,
                effect=listed.effect,
                timeout_s=entry.timeout_s,
                # The server may pass arguments on, so the policy's egress hosts apply to them.
                permissions=frozenset({Permission.NETWORK} if entry.url or entry.hosts else ()),
                sinks=sinks,
                returns_untrusted=True,
            )
            found.append(McpTool(spec, server, name, pin))
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that rejects unnamed arguments, unless it defines how to treat them. Most servers ignore such arguments,
    so by adding some, a model could make a call look like a different one."""
    if not schema.get("properties") or any(key in schema for key in _OPEN):
        return schema
    return {**schema, "additionalProperties": False}


def _without_unfit_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without defaults that it rejects itself, such as null for a number: what the server does if such an
    argument is left out is unknown."""
    schema = deepcopy(schema)
    for place in unfit_defaults(schema):
        node: Any = schema
        for step in place:
            node = node[step]
        node.pop("default")
    return schema
