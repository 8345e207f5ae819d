"""Parts of a deployment made from its settings: shared by every way to start one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.config import Settings
from agent.loop.agent_runtime import Kits, OwnedHosts
from agent.loop.evidence_source import EvidenceSource
from agent.loop.worker import Worker, WorkerConfig
from agent.models.chat_model import ChatModel
from agent.models.remote import RemoteChatModel, RemoteConfig
from agent.models.retrying import RUNS, RetryingChatModel
from agent.project.project import LiveProject, Project, ToolCheck, load_project, unchecked
from agent.run.deltas import Deltas
from agent.serve.home import open_home, private_files
from agent.store import StoreJournal, sql_journal
from agent.store.sql.disk_room import Room
from agent.store.sql.interrupt_reader import reader
from agent.store.sql.urls import files_of, servers_of
from flightloop.answer import completed
from flightloop.chat import ChatMessage, ChatRequest
from flightloop.content import TextPart
from flightloop.errors import ConfigError, FlightloopError
from guardrails.guard import Guard
from guardrails.interrupt import InterruptWatch
from guardrails.policy import Policy
from guardrails.types import Judge
from model.engine.compiler import check_tools
from observability.tracing import Tracing
from tools.builtin.knowledge import search_knowledge
from tools.config import ToolsConfig
from tools.host import ToolHosts
from tools.knowledge.library import Library
from tools.shop.database import FILE
from tools.shop.seed import reseed

JUDGE_TOKENS = 256


def open_journal(settings: Settings, *, urgent: bool = False, room: Room | None = None) -> StoreJournal:
    """Makes ``home`` and its folders. Raises ConfigError.

    Args:
        urgent, room: of the process that answers stops.
    """
    open_home(settings.home)
    with private_files():
        return sql_journal(settings.journal_url, urgent=urgent, room=room)


def make_room(settings: Settings, *, keeps: bool = False) -> Room:
    """Room for the journal; ``keeps``: in the process that answers stops. Raises ConfigError."""
    return Room.of(settings.journal_url, settings.disk_reserve_mb, keeps=keeps)


def seed_shop(settings: Settings) -> None:
    """The embedded project's shop, where there is none yet; a project of one's own brings its own data."""
    path = settings.data / FILE
    if settings.project is None and not os.path.lexists(path):
        with private_files():
            reseed(path)


def interrupt_watch(settings: Settings) -> InterruptWatch:
    return InterruptWatch(reader(settings.journal_url), settings.interrupt_max_silence_s)


def remote_model(settings: Settings) -> RemoteChatModel:
    """Raises ConfigError without ``FLIGHTLOOP_MODEL_URL``."""
    if settings.model_url is None:
        raise ConfigError(
            "FLIGHTLOOP_MODEL_URL: is needed here, the base URL of an OpenAI-compatible server;"
            " the embedded model runs on Ray alone: python -m agent up starts it"
        )
    key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
    config = RemoteConfig(
        url=settings.model_url,
        name=settings.model_name,
        api_key=key,
        strict_schemas=settings.model_strict_schemas,
        logprobs=settings.model_logprobs,
        context_length=settings.model_context,
        timeout_s=settings.model_timeout_s,
    )
    return RemoteChatModel(config)


async def model_name(settings: Settings, model: ChatModel) -> str:
    """The configured name, or the first that the server lists. Raises ConfigError."""
    if settings.model_name:
        return settings.model_name
    try:
        names = [card.id for card in await model.models()]
    except FlightloopError as error:
        raise ConfigError(f"FLIGHTLOOP_MODEL_URL: {error.message}; is the server up?") from error
    if not names:
        raise ConfigError("FLIGHTLOOP_MODEL_NAME: the server lists no model; name one")
    return names[0]


def make_judge(model: ChatModel, name: str) -> Judge:
    """The model itself as the guard's judge: greedy, and short. The rail that asks it bounds its time."""
    patient = RetryingChatModel(model, RUNS)

    async def judge(prompt: str) -> str:
        message = ChatMessage(role="user", content=[TextPart(text=prompt)])
        request = ChatRequest(model=name, messages=[message], temperature=0.0, max_tokens=JUDGE_TOKENS)
        answer = await completed(patient.stream(request))
        return answer.choices[0].message.content or ""

    return judge


def make_guards(model: ChatModel, name: str) -> Callable[[Policy], Guard]:
    judge = make_judge(model, name)
    return lambda policy: Guard(policy, judge)


def make_kits(settings: Settings, live: LiveProject, guards: Callable[[Policy], Guard]) -> Kits:
    return Kits(live, guards, partial(make_hosts, settings), LOOKUP)


def make_hosts(settings: Settings, project: Project, data: Path | None = None) -> OwnedHosts:
    """Hosts of the project's own tools and of its MCP servers', to be started.

    Args:
        data: the folder that calls' data lie in; None: the deployment's.
    """
    config = tools_config(settings)
    own = ToolHosts(project.tools, config, data or settings.data)
    if not project.servers:
        return own
    from tools.mcp.hosts import McpHosts  # half a second of imports
    from tools.mcp.programs import Programs

    return McpHosts(own, project.servers, project.server_tools, Programs(project.folder, config))


def private(settings: Settings) -> tuple[Path, ...]:
    """What no code of a project may see: the home, and a journal that lies elsewhere."""
    return (settings.home.resolve(), *files_of(settings.journal_url))


def live_project(settings: Settings) -> LiveProject:
    """Follows its files in a thread. Raises ConfigError."""
    live = LiveProject(settings.project, private(settings), _tool_check(settings))
    live.follow()
    return live


def read_project(settings: Settings) -> Project:
    """The project as it is now. Raises ConfigError."""
    return load_project(settings.project, private(settings), _tool_check(settings))


def _tool_check(settings: Settings) -> ToolCheck:
    return unchecked if settings.model_url else check_tools


def tools_config(settings: Settings) -> ToolsConfig:
    """What no tool may see or reach: the home, the ports of the platform, and its database."""
    database = servers_of(settings.journal_url)
    return ToolsConfig(
        protected=private(settings),
        reserved_ports=tuple(sorted({settings.port, *settings.reserved_ports, *database.ports})),
        barred_hosts=tuple((host, port) for host in database.hosts for port in database.ports),
    )


LOOKUP = EvidenceSource(frozenset({search_knowledge.__name__}))
"""The knowledge of the data folder, which that tool searches and answers are held against."""


def local_lookup(data: Path) -> EvidenceSource:
    """The same, read in this process: for data that nobody else writes."""
    return replace(LOOKUP, read=Library(data).statements)


def make_worker(
    settings: Settings, journal: StoreJournal, kits: Kits, model: ChatModel, name: str, deltas: Deltas, tracing: Tracing
) -> Worker:
    return Worker(
        journal,
        kits,
        model,
        name,
        interrupt_watch(settings),
        deltas,
        tracing,
        settings.data,
        prices=settings.prices,
        tenants=settings.tenants,
        config=WorkerConfig(concurrency=settings.worker_concurrency, lease_s=settings.lease_seconds),
    )
