"""MCP servers of a project, from its ``mcp.yaml``.

::

    weather:
      command: [uvx, mcp-weather]      # program, used over stdin and stdout; or
      url: https://example.com/mcp     # streamable HTTP
      tools: {forecast: pure, book: {effect: unsafe, sinks: [email]}}
      hosts: [api.weather.example]     # hosts that a program may connect to
      folders: [/srv/weather]    # writable besides its home, which is empty at each start

Programs run in the tools' sandbox. Only the listed tools of a server are used, and their results count as untrusted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flightloop.errors import ConfigError
from flightloop.schemas import subschemas
from flightloop.tool import Effect
from observability.bounded_yaml import YamlProblem, read_yaml
from tools.sandbox.endpoints import parse

FILE = "mcp.yaml"
PLATFORM_VARIABLES = ("FLIGHTLOOP_", "RAY_", "PG", "OTEL_", "AWS_", "AZURE_", "GOOGLE_")
"""Prefixes of environment variables of the platform, its database driver, exporters and storage clients."""
OWN = "MCP_"
"""Prefix of variables that any server may get. Others are granted by name."""
GRANTED = "FLIGHTLOOP_MCP_VARIABLES"
"""Variable that lists further ones, separated by commas. The operator sets it; a project can't."""
_DESTINATIONS = {
    *("to", "cc", "bcc", "recipient", "receiver", "payee", "beneficiary", "email", "mail", "phone", "user", "username"),
    *("account", "iban", "wallet", "channel", "chat", "address", "url", "uri", "link", "webhook", "callback", "host"),
    *("hostname", "endpoint", "domain", "ip", "destination", "target"),
}
"""Words at the end of an argument's name that say where something goes, also before ``id`` or ``name``."""
_SUFFIXES = {"id", "ids", "number", "no", "name", "names"}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ListedTool(BaseModel):
    """A tool that may be called. In YAML, it may be written as just its effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    sinks: tuple[str, ...] | None = None
    """Arguments that name a destination. None: for a write, those with names such as ``to`` or ``url``."""

    def sinks_among(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The sinks among arguments with these schemas. Raises ValueError: the tool has no such argument."""
        if self.sinks is None:
            writes = self.effect is not Effect.PURE
            return tuple(name for name, schema in arguments.items() if writes and _names_destination(name, schema))
        if unknown := set(self.sinks) - set(arguments):
            raise ValueError(f"sinks: it has no argument {', '.join(sorted(unknown))}")
        return self.sinks


def _names_destination(argument: str, schema: Any) -> bool:
    """Whether the name of an argument, or of one within it, says that it is a destination."""
    inner = (node.get("properties") for _, node in subschemas(schema))
    names = [argument, *(str(name) for properties in inner if isinstance(properties, dict) for name in properties)]
    return any(map(_says_destination, names))


def _says_destination(name: str) -> bool:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|\W|_", " ", name)
    words = parted.lower().split()
    while len(words) > 1 and words[-1] in _SUFFIXES:
        words.pop()
    last = words[-1] if words else ""
    return bool({last, last.removesuffix("s"), last.removesuffix("es")} & _DESTINATIONS)


class Server(BaseModel):
    """A server.

    ``${NAME}`` in ``env`` and ``headers`` is replaced by that environment variable of the worker, if its name begins
    with `OWN` or is granted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()  # program and arguments, with standard input and output as transport
    env: dict[str, str] = Field(default_factory=dict)
    url: str | None = Field(default=None, pattern=r"^https?://")  # URL for streamable HTTP
    headers: dict[str, str] = Field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    """Hosts that a program may connect to, as in ``@tool(hosts=…)``."""
    folders: tuple[str, ...] = ()
    """Absolute paths that a program may read and write."""
    tools: dict[str, ListedTool] = Field(min_length=1)
    """Tools that may be called, by the server's names."""
    timeout_s: float = Field(default=30.0, gt=0)  # limit of a request

    @field_validator("tools", mode="before")
    @classmethod
    def _effect_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"effect": one} if isinstance(one, str) else one for name, one in value.items()}

    @model_validator(mode="after")
    def _reached_in_one_way(self) -> Server:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        return self

    @field_validator("hosts")
    @classmethod
    def _hosts_are_endpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            parse(entry)
        return value

    @field_validator("folders")
    @classmethod
    def _folders_are_absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for folder in value:
            if not Path(folder).is_absolute():
                raise ValueError(f"{folder} must be an absolute path")
        return value

    def filled(self, values: dict[str, str]) -> dict[str, str]:
        """``env`` or ``headers`` with variables replaced. Raises ConfigError if one is not granted or not set."""
        return {name: _VARIABLE.sub(_variable, value) for name, value in values.items()}


def read_servers(folder: Path) -> dict[str, Server]:
    """Servers by name; empty without the file. Raises ConfigError."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        document: Any = read_yaml(path) or {}
    except YamlProblem as problem:
        raise ConfigError(f"{path}{problem.place}: not YAML: {problem}") from problem
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a mapping of names to servers")
    return {str(name): _server(path, str(name), entry) for name, entry in document.items()}


def _server(path: Path, name: str, entry: Any) -> Server:
    if not re.fullmatch(r"[A-Za-z][\w-]{0,31}", name):
        raise ConfigError(f"{path}: {name}: a server's name must have at most 32 letters, digits, _ and -")
    try:
        return Server.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise ConfigError(f"{path}: {where}: {first['msg']}", param=where) from error


def _variable(found: re.Match[str]) -> str:
    if found[1].upper().startswith(PLATFORM_VARIABLES):  # some libraries ignore the case of names
        raise ConfigError(f"{FILE}: the variable {found[1]} is the platform's; an MCP server never gets it")
    granted = [name.strip() for name in os.environ.get(GRANTED, "").split(",")]
    if not found[1].startswith(OWN) and found[1] not in granted:
        raise ConfigError(
            f"{FILE}: the variable {found[1]} is not for MCP servers: its name must begin with {OWN}, or set"
            f" {GRANTED}={found[1]} to grant it"
        )
    value = os.environ.get(found[1])
    if value is None:
        raise ConfigError(f"{FILE}: the environment variable {found[1]} is not set")
    return value
