"""A project: a folder with ``agents/*.yaml``, ``policies/*.yaml``, ``tools.py``, ``tasks/*.jsonl`` and more.

docs/agents.md describes it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Protocol

import structlog
from pydantic import ValidationError

from agent.project import project_file, subagent
from agent.project.agent_spec import AgentSpec
from agent.project.bound_fields import warn_of_misspelt
from agent.project.named import (
    check_arguments_named,
    check_bindings,
    check_names,
    check_queries,
    check_tools_named,
    names_of,
    unknown_tool,
)
from agent.project.predictor import PREDICTOR, predict_policy
from agent.project.project_file import ProjectFile, document_of, read_project_file
from flightloop import plain
from flightloop.chat import ToolDef
from flightloop.errors import ConfigError, FlightloopError, NotFound
from flightloop.predictions import PREDICT
from flightloop.runs import ProjectInfo
from flightloop.shown import shown
from flightloop.tool import ProjectData
from guardrails.policy import Policy, default_policy, load_policy
from guardrails.yaml_document import YamlDocument
from tools.config import ToolsConfig
from tools.describe import LoadedTools, load_tools
from tools.mcp import pins, servers
from tools.mcp.pins import McpTool, pinned_tools
from tools.mcp.servers import Server, read_servers
from tools.project_modules import modules_of
from tools.registry import Registry

EMBEDDED = Path(__file__).resolve().parents[2] / "examples" / "support"
ELSEWHERE = "your own project with --project DIR or FLIGHTLOOP_PROJECT"
"""Hint for commands that fell back to the bundled project, which may not be what the user meant."""
BUILTIN_TOOLS = "tools.builtin"
MOST_DOCUMENTS = 500
"""Maximum number of agents, and of policies."""
MOST_PROBLEM = 2_000
"""Maximum characters of a reported problem: exceptions raised by ``tools.py`` may be long."""
TOOL_FILES = ("tools.py", project_file.FILE, servers.FILE, pins.FILE)

ToolCheck = Callable[[Sequence[ToolDef]], None]
"""Checks that decoding can be constrained to the tools' schemas. Raises ConfigError that names the tool."""

log = structlog.get_logger(__name__)


def unchecked(tools: Sequence[ToolDef]) -> None:
    """Accepts all tools. For remote models, whose supported schemas are unknown."""


@dataclass(frozen=True)
class Project:
    """A loaded project folder."""

    folder: Path
    agents: dict[str, AgentSpec]
    policies: dict[str, Policy]
    tools: LoadedTools
    """The project's own tools and the built-in ones."""
    registry: Registry
    """``tools`` and the tools of MCP servers."""
    tools_sha256: str
    """Digest of all files that define tools; tool hosts are replaced when it changes."""
    servers: dict[str, Server] = field(default_factory=dict)
    """MCP servers by name."""
    server_tools: tuple[McpTool, ...] = ()

    def agent(self, name: str) -> AgentSpec:
        """The agent of this name. Raises NotFound that lists the known names."""
        if name == PREDICT and name not in self.agents:
            return PREDICTOR
        if name not in self.agents:
            known = ", ".join(sorted(self.agents))
            raise NotFound(f"no agent is named {name!r}; known agents: {known}", param="agent")
        return self.agents[name]

    def policy_of(self, agent: AgentSpec) -> Policy:
        """The agent's policy. Raises NotFound if the policy was overridden with an unknown name."""
        if agent.policy == PREDICT and agent.policy not in self.policies:
            return predict_policy()
        if agent.policy not in self.policies:
            known = ", ".join(sorted(self.policies))
            raise NotFound(f"no policy is named {agent.policy!r}; known policies: {known}", param="policy")
        return self.policies[agent.policy]

    @property
    def data(self) -> ProjectData:
        """Description of the project's data, which tools get in their context."""
        return self.tools.project

    @property
    def tasks(self) -> list[Path]:
        return sorted((self.folder / "tasks").glob("*.jsonl"))


def load_project(folder: Path | None, private: Sequence[Path], check_tools: ToolCheck = unchecked) -> Project:
    """Loads and checks the project in ``folder``, or the bundled ``support`` project if it is None.

    Args:
        private: paths that the project's code must not read; see ``agent.serve.factories.private``.
        check_tools: checks the tools that agents list; other tools of MCP servers are not checked.

    Raises:
        ConfigError: names the file and the field at fault.
    """
    folder = folder or EMBEDDED
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; 'flightloop new NAME' creates a project")
    sources: tuple[str, ...] = (BUILTIN_TOOLS,)
    if (folder / "tools.py").is_file():
        source = folder.resolve() / "tools.py"
        if (home := next((one for one in private if one.resolve() in source.parents), None)) is not None:
            raise ConfigError(
                f"{source}: is inside {home}, which a project's code may not read: move the project elsewhere"
            )
        sources = (*sources, str(source))
    digest = _digest(*(folder / name for name in TOOL_FILES), *modules_of(folder))
    known = read_servers(folder)
    server_tools = tuple(pinned_tools(folder, known))
    declared = read_project_file(folder)
    loaded = load_tools(sources, ToolsConfig(protected=tuple(private)), declared.data(folder))
    loaded = replace(loaded, registry=_described(folder, declared, loaded.registry))
    registry = loaded.registry.beside(tool.as_tool() for tool in server_tools)
    own = _policies(folder)
    policies = {default_policy().name: default_policy()} | {policy.name: policy for policy in own.values()}
    agents: dict[str, AgentSpec] = {}
    for path in _documents(folder, "agents"):
        document, agent = _agent(path)
        if agent.name in agents:
            where = document.at(["name"])
            raise ConfigError(f"{where}: name: another file already defines an agent named {agent.name}", param="name")
        check_names(document, agent, policies, registry)
        check_queries(document, agent, policies[agent.policy])
        agents[agent.name] = agent
    if not agents:
        raise ConfigError(f"{folder / 'agents'}: contains no agent: add at least one NAME.yaml")
    _check_subagents(folder, agents, registry)
    check_tools(registry.definitions(sorted({name for agent in agents.values() for name in agent.tools})))
    tools = {*names_of(registry), *map(subagent.tool_name, agents)}
    for path, policy in own.items():
        written = document_of(path)
        check_tools_named(written, policy, tools)
        check_arguments_named(written, policy, registry)
        check_bindings(written, policy, registry)
        warn_of_misspelt(written, policy, registry)
    for agent in agents.values():
        _warn_of_barred(agent, policies[agent.policy])
    return Project(folder, agents, policies, loaded, registry, digest, known, server_tools)


class CurrentProject(Protocol):
    """A project that may change while it is in use."""

    def current(self) -> Project:
        """The current project, the same object until it changes."""
        ...

    def info(self) -> ProjectInfo:
        """Time when the project was loaded, and the problem with its files, if any."""
        ...


class LiveProject:
    """A project that is reloaded when its files change. After an invalid change the last valid version stays in use."""

    def __init__(self, folder: Path | None, private: Sequence[Path], check_tools: ToolCheck = unchecked) -> None:
        self._folder = folder or EMBEDDED
        self._private = private
        self._check_tools = check_tools
        self._seen = _stamps(self._folder)
        self._project = load_project(self._folder, private, check_tools)
        self._info = ProjectInfo(loaded_at=datetime.now(UTC))
        self._follower: Thread | None = None

    def current(self) -> Project:
        """The current project, the same object until it changes. Checks the files first unless ``follow`` runs."""
        if self._follower is None:
            self.refresh()
        return self._project

    def info(self) -> ProjectInfo:
        """Time when the project was loaded, and the problem with its current files, if any."""
        self.current()
        return self._info

    def follow(self, every_s: float = 0.25) -> None:
        """Starts a thread that watches the files and reloads the project: loading may be slow and must not block the
        event loop."""
        if self._follower is None:
            self._follower = Thread(target=self._follow, args=(every_s,), name="project", daemon=True)
            self._follower.start()

    def refresh(self) -> None:
        """Reloads the project if a file has changed."""
        try:
            stamps = _stamps(self._folder)
            if stamps == self._seen:
                return
            self._seen = stamps
            self._project = load_project(self._folder, self._private, self._check_tools)
            self._info = ProjectInfo(loaded_at=datetime.now(UTC))
            log.info("project reloaded", folder=str(self._folder))
        except FlightloopError as error:
            self._broken(error.message)
        except Exception as error:  # tools.py may raise anything
            self._broken(f"{type(error).__name__}: {error}", unexpected=error)

    def _follow(self, every_s: float) -> None:
        while True:
            time.sleep(every_s)
            self.refresh()

    def _broken(self, problem: str, unexpected: Exception | None = None) -> None:
        """Keeps a problem for ``info``, and logs it once: files that can't be listed are retried endlessly."""
        public = problem
        for folder in dict.fromkeys((self._folder, self._folder.resolve())):
            # Tenants must not see the server's paths.
            public = public.replace(f"{folder}/", "").replace(str(folder), "the project")
        told = shown(" ".join(public.split()))[:MOST_PROBLEM]
        if told == self._info.problem:
            return
        log.error("project not reloaded, the last valid version stays in use", error=problem, exc_info=unexpected)
        since = self._info.broken_since or datetime.now(UTC)
        self._info = self._info.model_copy(update={"problem": told, "broken_since": since})


def _documents(folder: Path, kind: str) -> list[Path]:
    """YAML files of a kind, sorted by name. Raises ConfigError if there are more than ``MOST_DOCUMENTS``."""
    found = sorted(islice((folder / kind).glob("*.y*ml"), MOST_DOCUMENTS + 1))
    if len(found) > MOST_DOCUMENTS:
        raise ConfigError(f"{folder / kind}: has more than {MOST_DOCUMENTS} files", param=kind)
    return found


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(plain.read(file))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
        digest.update(b"\0")
    return digest.hexdigest()


def _policies(folder: Path) -> dict[Path, Policy]:
    found: dict[Path, Policy] = {}
    for path in _documents(folder, "policies"):
        policy = load_policy(path)
        if any(policy.name == other.name for other in found.values()):
            where = document_of(path).at(["name"])
            raise ConfigError(f"{where}: name: another file already defines a policy named {policy.name}", param="name")
        found[path] = policy
    return found


def _agent(path: Path) -> tuple[YamlDocument, AgentSpec]:
    document = document_of(path)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}: must be a mapping with name, instructions, tools …")
    try:
        return document, AgentSpec.model_validate({"name": path.stem} | document.value)
    except ValidationError as error:
        raise document.refused(error, AgentSpec, "agent") from error


def _described(folder: Path, declared: ProjectFile, registry: Registry) -> Registry:
    """Tools with the descriptions from ``project.yaml``. Raises ConfigError if it describes an unknown tool."""
    for name in declared.descriptions:
        if name not in registry:
            where = document_of(folder / project_file.FILE).at(["descriptions", name])
            raise ConfigError(f"{where}: descriptions: {unknown_tool(name, names_of(registry))}", param="descriptions")
    return registry.with_descriptions(declared.descriptions)


def _check_subagents(folder: Path, agents: dict[str, AgentSpec], registry: Registry) -> None:
    """Raises ConfigError if sub-agents form a cycle or too long a chain, or if a sub-agent's tool name is taken."""
    try:
        subagent.check(agents)
        asked = {name for agent in agents.values() for name in agent.agents}
        registry.beside(subagent.as_tool(agents[name]) for name in sorted(asked))
    except ConfigError as error:
        raise ConfigError(f"{folder / 'agents'}: {error.message}", param=error.param) from error


def _warn_of_barred(agent: AgentSpec, policy: Policy) -> None:
    """Warns if the policy does not allow tools that the agent lists, which is rarely intended."""
    allowed = policy.document.tools.allowed(agent.name)
    barred = [name for name in (*agent.tools, *map(subagent.tool_name, agent.agents)) if name not in allowed]
    if barred and "*" not in allowed:
        hint = f"add them to tools.allow.{agent.name} of the policy"
        if like := get_close_matches(agent.name, policy.document.tools.allow, 1):
            hint += f", which has tools.allow.{like[0]}"
        log.warning(
            "the policy bars tools that the agent lists", agent=agent.name, policy=policy.name, tools=barred, hint=hint
        )


def _stamps(folder: Path) -> dict[str, int]:
    """Modification times of the project's files. Raises ConfigError like ``_documents``."""
    written = [*_documents(folder, "agents"), *_documents(folder, "policies")]
    files = dict.fromkeys([*(folder / name for name in TOOL_FILES), *modules_of(folder), *written])
    stamps = {}
    for file in files:
        with suppress(FileNotFoundError):  # an editor may be replacing the file
            stamps[str(file)] = file.stat().st_mtime_ns
    return stamps
