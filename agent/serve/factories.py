"""Builds the parts of a deployment from its settings, for all ways to start one."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.api.auth import DEFAULT_TENANT
from agent.attachments.images import AT_ONCE, Images
from agent.config import Settings
from agent.erasing.eraser import Eraser
from agent.erasing.places import Places
from agent.erasing.reach import Receivers
from agent.erasing.retention import Retention
from agent.loop.agent_runtime import AgentRuntimes, OwnedHosts
from agent.loop.evidence_source import EvidenceSource
from agent.loop.worker import Worker, WorkerConfig
from agent.models.chat_model import ChatModel
from agent.models.remote import RemoteChatModel, RemoteConfig
from agent.models.retrying import RUNS, RetryingChatModel
from agent.project.project import EMBEDDED, LiveProject, Project, ToolCheck, load_project, unchecked
from agent.project.project_file import FILE as PROJECT_FILE
from agent.project.project_file import read_project_file
from agent.reporting.checkpoint_webhook import deliver_checkpoints
from agent.reporting.checkpoints import CheckpointConfig, Checkpointer
from agent.reporting.project_acts import ProjectActs
from agent.reporting.webhooks import deliver
from agent.run.deltas import Deltas
from agent.serve.code_scan import code_scan
from agent.serve.home import open_home, private_files
from agent.serve.moderation import make_moderate
from agent.store import StoreJournal, sql_journal
from agent.store.backend import AuditContext
from agent.store.sql.audit_keys import check_sealing
from agent.store.sql.disk_room import Room
from agent.store.sql.interrupt_reader import reader
from agent.store.sql.urls import files_of, servers_of
from flightloop.answer import completed
from flightloop.chat import ChatMessage, ChatRequest
from flightloop.content import TextPart
from flightloop.errors import ConfigError, FlightloopError
from flightloop.tool import ProjectData
from guardrails.audit_keys import KeyFile
from guardrails.guard import Guard
from guardrails.interrupt import InterruptWatch
from guardrails.policy import Policy
from guardrails.policy_texts import PolicyTexts
from guardrails.types import Judge
from model.config import STANDARD, promoted_experts
from model.engine.compiler import check_tools
from observability.metrics import Metrics
from observability.tracing import Tracing
from tools.builtin.knowledge import search_knowledge
from tools.config import ToolsConfig
from tools.host import ToolHosts
from tools.knowledge.library import Library
from tools.seeding import FILE as SEED
from tools.seeding import seed
from tools.vision import hosted

JUDGE_TOKENS = 256
FLUSH_S = 6.0
"""OpenTelemetry's processors export spans every 5 s (``OTEL_BSP_SCHEDULE_DELAY``)."""
IMAGE_RESULT_BYTES = 16 * 1024**2
"""Largest result of a host that takes images in: a file of 10 MiB in base64, or a stored image with its reading."""


def open_journal(
    settings: Settings, *, urgent: bool = False, room: Room | None = None, check_keys: bool = True
) -> StoreJournal:
    """Opens the journal and creates ``home``. Raises ConfigError.

    Args:
        urgent, room: set only by the process that handles emergency stops; see ``sql_journal``.
        check_keys: whether the audit keys must be those that sealed the audit log. Only for commands that don't act.
    """
    open_home(settings.home)
    keys = settings.audit_keys()
    with private_files():
        if check_keys:
            check_sealing(settings.journal_url, keys)
        journal = sql_journal(settings.journal_url, urgent=urgent, room=room, audit=AuditContext(keys))
        if check_keys and isinstance(keys, KeyFile):
            keys.create()
    return journal


def open_stop_journal(settings: Settings) -> StoreJournal:
    """Opens the journal to store an emergency stop. On a full disk, it releases the reserve. Raises ConfigError.

    Missing audit keys don't prevent a stop; ``audit verify`` finds its record, which lacks a seal.
    """
    return open_journal(settings, urgent=True, room=make_room(settings, keeps=True), check_keys=False)


def make_checkpointer(settings: Settings, journal: StoreJournal) -> Checkpointer:
    config = CheckpointConfig(settings.audit_checkpoint_seconds, settings.audit_checkpoint_records)
    return Checkpointer(journal, settings.checkpoints, settings.audit_keys(), DEFAULT_TENANT, config)


async def deliver_webhooks(settings: Settings, journal: StoreJournal, metrics: Metrics) -> None:
    """Delivers events and checkpoints of the audit log to the configured endpoints until cancelled."""
    keys = settings.audit_keys()
    await asyncio.gather(
        deliver(journal, settings.webhooks, metrics),
        deliver_checkpoints(journal, settings.webhooks, settings.checkpoints, keys, DEFAULT_TENANT, metrics),
    )


def make_eraser(settings: Settings, journal: StoreJournal) -> Eraser:
    tasks = settings.project / "tasks" if settings.project else None
    webhooks = {one.name: one.tenant_id for one in settings.webhooks}
    promoted = settings.home / promoted_experts(settings.model or STANDARD)
    receivers = Receivers(webhooks, settings.otlp_endpoint, settings.model_url, promoted)
    places = Places(settings.home, tasks, [settings.checkpoints])
    return Eraser(journal, journal.erasure, places, settings.audit_keys(), receivers, FLUSH_S)


async def erase_old_runs(settings: Settings, journal: StoreJournal) -> None:
    """Erases runs once a day, if they have an end of retention, until cancelled."""
    if settings.retention_days is not None:
        await Retention(make_eraser(settings, journal), settings.retention_days).run()


def make_project_acts(settings: Settings, journal: StoreJournal, live: LiveProject) -> ProjectActs:
    return ProjectActs(journal, live, journal.policies, settings.home, DEFAULT_TENANT)


def make_room(settings: Settings, *, keeps: bool = False) -> Room:
    """Watches the disk space for the journal. ``keeps``: set by the process that handles stops. Raises ConfigError."""
    return Room.of(settings.journal_url, settings.disk_reserve_mb, keeps=keeps)


def seed_data(settings: Settings) -> None:
    """Runs the project's ``seed.py`` if the project's database is missing or empty.

    Raises:
        ConfigError: ``seed.py`` fails, or would never run because the project names no database.
    """
    project = settings.project or EMBEDDED
    database = read_project_file(project).database
    if database is None and (project / SEED).exists():
        raise ConfigError(
            f"{project / SEED} would never run: name the database that it makes in {project / PROJECT_FILE}"
            " (database: NAME.db)"
        )
    if database is not None and _is_missing(settings.data / database):
        seed_into(settings, settings.data)


def seed_into(settings: Settings, data: Path) -> None:
    """Fills a data folder by running the project's ``seed.py``, if there is one. Raises ConfigError."""
    seed(settings.project or EMBEDDED, data, tools_config(settings))


def _is_missing(path: Path) -> bool:
    """Whether there is no database, or only the empty file of an interrupted seeding."""
    try:
        known = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(known.st_mode) and known.st_size == 0


def interrupt_watch(settings: Settings) -> InterruptWatch:
    return InterruptWatch(reader(settings.journal_url), settings.interrupt_max_silence_s)


def remote_model(settings: Settings, *, own: bool = False) -> RemoteChatModel:
    """Client for the remote model. Raises ConfigError without ``FLIGHTLOOP_MODEL_URL``.

    Args:
        own: whether it is that of a running flightloop platform (``RemoteConfig.own``).
    """
    if settings.model_url is None:
        raise ConfigError(
            "FLIGHTLOOP_MODEL_URL: not set; this command needs the base URL of an OpenAI-compatible server"
            " (the embedded model runs on Ray only: python -m agent up)"
        )
    key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
    config = RemoteConfig(
        url=settings.model_url,
        name=settings.model_name,
        api_key=key,
        strict_schemas=settings.model_strict_schemas,
        logprobs=settings.model_logprobs,
        vision={"yes": True, "no": False}.get(settings.model_vision),
        context_length=settings.model_context,
        reads_plans=settings.model_reads_plans,
        own=own,
        timeout_s=settings.model_timeout_s,
    )
    return RemoteChatModel(config)


async def model_name(settings: Settings, model: ChatModel) -> str:
    """The configured name, or the first model that the server lists. Raises ConfigError."""
    if settings.model_name:
        return settings.model_name
    try:
        names = [card.id for card in await model.models()]
    except FlightloopError as error:
        raise ConfigError(f"FLIGHTLOOP_MODEL_URL: {error.message}; is the server up?") from error
    if not names:
        raise ConfigError("FLIGHTLOOP_MODEL_NAME: not set, and the server lists no models; set it")
    return names[0]


def make_judge(model: ChatModel, name: str) -> Judge:
    """Returns a judge for guards. It calls the model with greedy decoding and short answers; rails limit its time."""
    retrying = RetryingChatModel(model, RUNS)

    async def judge(prompt: str) -> str:
        message = ChatMessage(role="user", content=[TextPart(text=prompt)])
        request = ChatRequest(model=name, messages=[message], temperature=0.0, max_tokens=JUDGE_TOKENS)
        answer = await completed(retrying.stream(request))
        return answer.choices[0].message.content or ""

    return judge


def make_guards(
    settings: Settings, model: ChatModel, name: str, used: PolicyTexts | None = None
) -> Callable[[Policy], Guard]:
    """Returns a function that makes guards. ``used`` learns their policies, whose texts the journal keeps."""
    judge, moderate = make_judge(model, name), make_moderate(settings)

    def make(policy: Policy) -> Guard:
        if used is not None:
            used.add(policy)
        return Guard(policy, judge, code_scan=code_scan, moderate=moderate)

    return make


def make_runtimes(settings: Settings, live: LiveProject, guards: Callable[[Policy], Guard]) -> AgentRuntimes:
    return AgentRuntimes(live, guards, partial(make_hosts, settings), LOOKUP)


def make_hosts(settings: Settings, project: Project, data: Path | None = None) -> OwnedHosts:
    """Creates tool hosts for the project's own tools and its MCP servers, without starting them.

    Args:
        data: folder of the tools' data; None: the deployment's.
    """
    config = tools_config(settings)
    own = ToolHosts(project.tools, config, data or settings.data)
    if not project.servers:
        return own
    from tools.mcp.hosts import McpHosts  # half a second of imports
    from tools.mcp.programs import Programs

    return McpHosts(own, project.servers, project.server_tools, Programs(project.folder, config))


def make_images(settings: Settings, data: Path | None = None) -> Images:
    """Takes images in, in hosts of their own. Hosts start with the first image, because most deployments see none.

    Args:
        data: folder of the tools' data; None: the deployment's.
    """
    config = replace(
        tools_config(settings),
        spare=0,
        idle=1,
        max_hosts=AT_ONCE,
        max_result_bytes=IMAGE_RESULT_BYTES,
        preloaded=hosted.PRELOADED,
    )
    folder = data or settings.data
    return Images(ToolHosts([hosted.__name__], config, folder), folder)


def private(settings: Settings) -> tuple[Path, ...]:
    """Paths that a project's code may not read: home, and the files of a journal outside it."""
    return (settings.home.resolve(), *files_of(settings.journal_url))


def live_project(settings: Settings) -> LiveProject:
    """The project, reloaded by a thread when its files change. Raises ConfigError."""
    live = LiveProject(settings.project, private(settings), _tool_check(settings))
    live.follow()
    return live


def read_project(settings: Settings) -> Project:
    """Loads the project from its current files. Raises ConfigError."""
    return load_project(settings.project, private(settings), _tool_check(settings))


def _tool_check(settings: Settings) -> ToolCheck:
    return unchecked if settings.model_url else check_tools


def tools_config(settings: Settings) -> ToolsConfig:
    """Restrictions of tools: they may not read home, nor reach the platform's ports or its database."""
    database = servers_of(settings.journal_url)
    return ToolsConfig(
        protected=private(settings),
        reserved_ports=tuple(sorted({settings.port, *settings.reserved_ports, *database.ports})),
        barred_hosts=tuple((host, port) for host in database.hosts for port in database.ports),
    )


LOOKUP = EvidenceSource(frozenset({search_knowledge.__name__}))
"""Evidence source: the project's database and documents, as ``search_knowledge`` searches them."""


def local_lookup(data: Path, project: ProjectData) -> EvidenceSource:
    """Like ``LOOKUP``, but reads in this process, not in a tool host; only for data that no untrusted code writes."""
    return replace(LOOKUP, read=Library(data, project).statements)


def make_worker(
    settings: Settings,
    journal: StoreJournal,
    runtimes: AgentRuntimes,
    model: ChatModel,
    name: str,
    deltas: Deltas,
    tracing: Tracing,
) -> Worker:
    return Worker(
        journal,
        runtimes,
        model,
        name,
        interrupt_watch(settings),
        deltas,
        tracing,
        settings.data,
        prices=settings.prices,
        tenants=settings.tenants,
        config=WorkerConfig(
            concurrency=settings.worker_concurrency,
            call_confidence=settings.model_call_confidence,
            lease_s=settings.lease_seconds,
        ),
    )
