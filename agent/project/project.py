"""A project: a folder with ``agents/*.yaml``, ``policies/*.yaml``, ``tools.py``, ``mcp.yaml`` and ``tasks/*.jsonl``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Thread

import structlog
from pydantic import ValidationError

from agent.project import subagent
from agent.project.agent_spec import AgentSpec
from flightloop import plain
from flightloop.chat import ToolDef
from flightloop.errors import ConfigError, FlightloopError, NotFound
from flightloop.nearest import did_you_mean
from flightloop.runs import ProjectInfo
from flightloop.shown import shown
from guardrails.policy import Policy, default_policy, load_policy
from guardrails.yaml_document import YamlDocument
from observability.bounded_yaml import DOCUMENT_BYTES
from tools.config import ToolsConfig
from tools.describe import LoadedTools, load_tools
from tools.mcp import pins, servers
from tools.mcp.pins import McpTool, pinned_tools
from tools.mcp.servers import Server, read_servers
from tools.registry import Registry

EMBEDDED = Path(__file__).resolve().parents[2] / "examples" / "support"
ELSEWHERE = "your own project with --project DIR or FLIGHTLOOP_PROJECT"
"""For messages of commands that took the embedded project, which they may not have been meant for."""
BUILTIN_TOOLS = "tools.builtin"
MOST_DOCUMENTS = 500
"""Agents, or policies."""
MOST_PROBLEM = 2_000
"""Characters of what is told of a mistake: an exception of ``tools.py`` may say anything."""
TOOL_FILES = ("tools.py", servers.FILE, pins.FILE)

ToolCheck = Callable[[Sequence[ToolDef]], None]
"""Whether the model can be held to tools' schemas. Raises ConfigError, which names the tool."""

log = structlog.get_logger(__name__)


def unchecked(tools: Sequence[ToolDef]) -> None:
    """For a model of which nobody here knows: a remote one."""


@dataclass(frozen=True)
class Project:
    """A loaded folder. ``tools`` are those of the project itself and the built-in ones; ``registry`` also has the tools
    of MCP servers."""

    folder: Path
    agents: dict[str, AgentSpec]
    policies: dict[str, Policy]
    tools: LoadedTools
    registry: Registry
    tools_sha256: str
    """Of what tools are made of: hosts that loaded it serve until it changes."""
    servers: dict[str, Server] = field(default_factory=dict)
    """Of the Model Context Protocol."""
    server_tools: tuple[McpTool, ...] = ()

    def agent(self, name: str) -> AgentSpec:
        """Raises NotFound, with the known names."""
        if name not in self.agents:
            known = ", ".join(sorted(self.agents))
            raise NotFound(f"no agent is named {name!r}; known agents: {known}", param="agent")
        return self.agents[name]

    def policy_of(self, agent: AgentSpec) -> Policy:
        """Raises NotFound: it was given another one's name, which no policy has."""
        if agent.policy not in self.policies:
            known = ", ".join(sorted(self.policies))
            raise NotFound(f"no policy is named {agent.policy!r}; known policies: {known}", param="policy")
        return self.policies[agent.policy]

    @property
    def tasks(self) -> list[Path]:
        return sorted((self.folder / "tasks").glob("*.jsonl"))


def load_project(folder: Path | None, private: Sequence[Path], check_tools: ToolCheck = unchecked) -> Project:
    """Reads and checks a project; none: the embedded ``support``.

    Args:
        private: what its code may not see; see ``agent.serve.factories.private``.
        check_tools: asked about the tools that an agent lists; an MCP server may bring others that none can use.

    Raises:
        ConfigError: naming the file and the field at fault.
    """
    folder = folder or EMBEDDED
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; 'flightloop new NAME' makes a project")
    sources: tuple[str, ...] = (BUILTIN_TOOLS,)
    if (folder / "tools.py").is_file():
        source = folder.resolve() / "tools.py"
        if (home := next((one for one in private if one.resolve() in source.parents), None)) is not None:
            raise ConfigError(
                f"{source}: lies in {home}, which no code of a project may see: keep the project elsewhere"
            )
        sources = (*sources, str(source))
    digest = _digest(*(folder / name for name in TOOL_FILES))
    known = read_servers(folder)
    server_tools = tuple(pinned_tools(folder, known))
    loaded = load_tools(sources, ToolsConfig(protected=tuple(private)))
    registry = loaded.registry.beside(tool.as_tool() for tool in server_tools)
    own = _policies(folder)
    policies = {default_policy().name: default_policy()} | {policy.name: policy for policy in own.values()}
    agents: dict[str, AgentSpec] = {}
    for path in _documents(folder, "agents"):
        document, agent = _agent(path)
        if agent.name in agents:
            where = document.at(["name"])
            raise ConfigError(f"{where}: name: another file has an agent named {agent.name}", param="name")
        _check_names(document, agent, policies, registry)
        agents[agent.name] = agent
    if not agents:
        raise ConfigError(f"{folder / 'agents'}: no agent: it needs at least one NAME.yaml")
    _check_subagents(folder, agents, registry)
    check_tools(registry.definitions(sorted({name for agent in agents.values() for name in agent.tools})))
    tools = {*_names(registry), *map(subagent.tool_name, agents)}
    for path, policy in own.items():
        written = _document(path)
        _check_tools_named(written, policy, tools)
        _check_arguments_named(written, policy, registry)
    for agent in agents.values():
        _warn_of_barred(agent, policies[agent.policy])
    return Project(folder, agents, policies, loaded, registry, digest, known, server_tools)


class LiveProject:
    """A project that follows its folder: a change is picked up, and a mistake keeps the last good state."""

    def __init__(self, folder: Path | None, private: Sequence[Path], check_tools: ToolCheck = unchecked) -> None:
        self._folder = folder or EMBEDDED
        self._private = private
        self._check_tools = check_tools
        self._seen = _stamps(self._folder)
        self._project = load_project(self._folder, private, check_tools)
        self._info = ProjectInfo(loaded_at=datetime.now(UTC))
        self._follower: Thread | None = None

    def current(self) -> Project:
        """The project as its files are now, or were at the last look if something ``follow``s them. The same object
        while unchanged."""
        if self._follower is None:
            self.refresh()
        return self._project

    def info(self) -> ProjectInfo:
        """What is wrong with the files as they are now, if anything is."""
        self.current()
        return self._info

    def follow(self, every_s: float = 0.25) -> None:
        """Looks at the files in a thread from now on, to the process's end: whoever writes a project's files may make
        loading them take long, and an event loop has others to serve."""
        if self._follower is None:
            self._follower = Thread(target=self._follow, args=(every_s,), name="project", daemon=True)
            self._follower.start()

    def refresh(self) -> None:
        """Loads the project anew if a file has changed."""
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
        except Exception as error:  # whoever wrote the files may be a stranger
            log.exception("project not read")
            self._broken(f"{type(error).__name__}: {error}")

    def _follow(self, every_s: float) -> None:
        while True:
            time.sleep(every_s)
            self.refresh()

    def _broken(self, problem: str) -> None:
        log.error("project not reloaded, the last good state serves on", error=problem)
        for folder in dict.fromkeys((self._folder, self._folder.resolve())):
            # Where it lies on the server is no tenant's business.
            problem = problem.replace(f"{folder}/", "").replace(str(folder), "the project")
        told = shown(" ".join(problem.split()))[:MOST_PROBLEM]
        since = self._info.broken_since or datetime.now(UTC)
        self._info = self._info.model_copy(update={"problem": told, "broken_since": since})


def _documents(folder: Path, kind: str) -> list[Path]:
    """The folder's YAML files of a kind, by name. Raises ConfigError: they are more than ``MOST_DOCUMENTS``."""
    found = sorted(islice((folder / kind).glob("*.y*ml"), MOST_DOCUMENTS + 1))
    if len(found) > MOST_DOCUMENTS:
        raise ConfigError(f"{folder / kind}: there are more than {MOST_DOCUMENTS} files", param=kind)
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
            where = _document(path).at(["name"])
            raise ConfigError(f"{where}: name: another file has a policy named {policy.name}", param="name")
        found[path] = policy
    return found


def _document(path: Path) -> YamlDocument:
    try:
        return YamlDocument.parse(plain.read_text(path, DOCUMENT_BYTES), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _agent(path: Path) -> tuple[YamlDocument, AgentSpec]:
    document = _document(path)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}: an agent is a mapping with name, instructions, tools …")
    try:
        return document, AgentSpec.model_validate({"name": path.stem} | document.value)
    except ValidationError as error:
        raise document.refused(error, AgentSpec, "agent") from error


def _check_names(document: YamlDocument, agent: AgentSpec, policies: dict[str, Policy], registry: Registry) -> None:
    if agent.policy not in policies:
        known = ", ".join(sorted(policies))
        where = document.at(["policy"])
        raise ConfigError(f"{where}: policy: no policy is named {agent.policy}; known: {known}", param="policy")
    for entry, names in (("tools", agent.tools), ("escalation", agent.escalation)):
        for index, name in enumerate(names):
            if name not in registry:
                where = document.at([entry, index])
                raise ConfigError(f"{where}: {entry}: {_unknown_tool(name, _names(registry))}", param=entry)


def _check_tools_named(written: YamlDocument, policy: Policy, tools: Collection[str]) -> None:
    """Raises ConfigError: a rule about a tool that isn't there would be one that never holds, without a word."""
    for where, name in policy.document.tools_named():
        if name not in tools:
            _never_holds(written, policy, where, _unknown_tool(name, tools))


def _check_arguments_named(written: YamlDocument, policy: Policy, registry: Registry) -> None:
    """Raises ConfigError: as a rule about a tool that isn't there, one about an argument that isn't never holds."""
    for where, tool, argument in policy.document.arguments_named():
        known = registry.get(tool).parameters.get("properties", {}) if tool in registry else {argument}
        if argument not in known:
            told = f"{tool} has no argument {argument}; it has: {', '.join(sorted(known)) or 'none'}"
            _never_holds(written, policy, where, told)


def _never_holds(written: YamlDocument, policy: Policy, where: str, told: str) -> None:
    """Raises ConfigError. The default policy also judges completions, whose tools are their callers': there it is a
    warning only."""
    message = f"{written.at(where.split('.'))}: {where}: {told}"
    if policy.name != default_policy().name:
        raise ConfigError(message, param=where)
    log.warning("the policy names what the project has not", told=message)


def _names(registry: Registry) -> set[str]:
    return {spec.name for spec in registry.specs()}


def _unknown_tool(name: str, known: Collection[str]) -> str:
    told = (did_you_mean(name, known), f"known: {', '.join(sorted(known))}")
    return f"no tool is named {name}; {' '.join(filter(None, told))}"


def _check_subagents(folder: Path, agents: dict[str, AgentSpec], registry: Registry) -> None:
    """Raises ConfigError: they can't ask each other so, or one has a tool's name."""
    try:
        subagent.check(agents)
        asked = {name for agent in agents.values() for name in agent.agents}
        registry.beside(subagent.as_tool(agents[name]) for name in sorted(asked))
    except ConfigError as error:
        raise ConfigError(f"{folder / 'agents'}: {error.message}", param=error.param) from error


def _warn_of_barred(agent: AgentSpec, policy: Policy) -> None:
    """A policy may bar what an agent lists, so that no model is shown it; who wrote both seldom means that."""
    allowed = policy.document.tools.allowed(agent.name)
    barred = [name for name in (*agent.tools, *map(subagent.tool_name, agent.agents)) if name not in allowed]
    if barred and "*" not in allowed:
        hint = f"add them to tools.allow.{agent.name} of the policy"
        log.warning(
            "the policy bars tools that the agent lists", agent=agent.name, policy=policy.name, tools=barred, hint=hint
        )


def _stamps(folder: Path) -> dict[str, int]:
    """Raises ConfigError, as ``_documents``."""
    files = [*(folder / name for name in TOOL_FILES), *_documents(folder, "agents"), *_documents(folder, "policies")]
    stamps = {}
    for file in files:
        with suppress(FileNotFoundError):  # an editor may be replacing it just now
            stamps[str(file)] = file.stat().st_mtime_ns
    return stamps
