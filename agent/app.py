"""Composition root of a deployment on Ray: ``serve run agent.app:build``.

Settings come from the environment (``FLIGHTLOOP_*``) and from the application's arguments, which take precedence
(``serve run agent.app:build replicas_max=4``, or ``args:`` in a deploy file). They are resolved here once and
passed on as arguments, because the processes of a cluster don't inherit this shell's environment.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from click import ClickException
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from agent.config import PREFIX, Settings, load_settings
from agent.serve.api import ApiHost
from agent.serve.bounded_proxy import ask_for_limits
from agent.serve.connections import API, interrupt_watch, metrics_sink
from agent.serve.factories import read_project
from agent.serve.folder import leave_for_platform
from agent.serve.home import open_home
from agent.serve.ingress import FrontHost
from agent.serve.logs import log_to_file
from agent.serve.proxy import check_proxy, starts_a_cluster
from agent.serve.session import make_private
from agent.serve.worker import WorkerHost
from agent.store.sql.urls import absolute
from flightloop.errors import ConfigError
from model.config import EMBEDDED, STANDARD, ModelConfig
from model.engine.request import RANKS
from model.serve.autoscaling import hold_utilisation
from model.weights.sources import default_model

STREAMS = 200
"""Concurrent requests at the API; most of them are open streams."""
CALLERS = 100_000
"""Concurrent requests at the front: high enough that streams waiting for the API never delay an emergency stop."""
SHUTDOWN_S = 2.5
"""Grace period of a stopping replica: a worker releases its runs, the API ends its streams."""
ANSWER_S = 20.0
"""Grace period in which a model replica that is being scaled down finishes its answers."""
DRAIN_POLL_S = 0.3
"""Interval at which a stopping replica checks for open requests. Serve's default of two seconds would be most of the
time that a clean shutdown takes."""
PLACE_CPUS = 0.1
"""Ray's logical CPUs per replica of the front, the API and the workers. They affect placement, not CPU time."""


def build(args: dict[str, Any]) -> Application:
    """Builds the application: front, API, workers, and the model unless it is remote.

    Args:
        args: settings that override the environment, by field name of ``agent.config.Settings``.

    Raises:
        ClickException: one line that names the variable and the reason; ``serve run`` prints it and exits.
    """
    try:
        settings = load_settings(**args)
        ask_for_limits()
        check_proxy(settings)
        app = application(settings)
        if starts_a_cluster():
            make_private()
    except ConfigError as error:
        raise ClickException(error.message) from error
    leave_for_platform()
    return app


def application(settings: Settings) -> Application:
    """Builds the application from resolved settings.

    Raises:
        ConfigError: the key, the project or the model cannot be used. They are checked here so that the error appears
            in the terminal instead of a replica's log.
    """
    settings = settings.model_copy(
        update={
            "home": settings.home.resolve(),
            "project": settings.project and settings.project.resolve(),
            "database_url": settings.database_url and absolute(settings.database_url),
        }
    )
    open_home(settings.home)
    settings.keyring()
    read_project(settings)
    if settings.model is None and not settings.model_url:
        settings = settings.model_copy(update={"model": default_model(partial(print, file=sys.stderr, flush=True))})
    model = None if settings.model_url else _model(settings)
    worker = serve.deployment(WorkerHost).options(
        name="Worker",
        num_replicas=settings.workers,
        ray_actor_options={"num_cpus": PLACE_CPUS},
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
    )
    front = serve.deployment(FrontHost).options(
        name="Front",
        num_replicas=1,
        max_ongoing_requests=CALLERS,
        ray_actor_options={"num_cpus": PLACE_CPUS},
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
    )
    api = serve.deployment(ApiHost).options(
        name=API,
        num_replicas=1,
        max_ongoing_requests=STREAMS,
        ray_actor_options={"num_cpus": PLACE_CPUS},
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
    )
    return front.bind(settings, api.bind(settings, model, worker.bind(settings, model)), model)


def model_config(settings: Settings) -> ModelConfig:
    """Engine configuration of each model replica."""
    model = settings.model or STANDARD
    path = Path(model)
    return ModelConfig(
        model=str(path.resolve()) if model not in EMBEDDED and path.exists() else model,
        dtype=settings.model_dtype,
        experts=str(settings.experts.resolve()) if settings.experts else None,
        lora=str(settings.model_lora.resolve()) if settings.model_lora else None,
        slots=settings.model_slots,
        step_tokens=settings.model_step_tokens,
        draft_tokens=settings.model_draft_tokens,
        queue=settings.model_queue,
        max_context=settings.model_max_context,
        attention_window=settings.model_attention_window,
        attention_retrieved=settings.model_attention_retrieved,
        call_confidence=settings.call_confidence,
        stream_interval_ms=settings.model_stream_interval_ms,
        shards=settings.model_shards,
        threads=settings.model_threads or "auto",
        kernels=settings.kernels,
    )


def model_deployment(config: ModelConfig, replicas_min: int, replicas_max: int) -> Deployment:
    """The model's deployment, not yet bound to its arguments.

    Args:
        config: engine configuration of a replica; with more than one shard, each replica gets a placement group.
        replicas_min: replicas that always run; 0 allows scaling to zero.
        replicas_max: upper bound of autoscaling.
    """
    from model.serve.replica import SHARD_CPUS, ModelReplica  # imports torch, so only if the built-in engine is used

    scaling = AutoscalingConfig(
        min_replicas=replicas_min,
        initial_replicas=max(1, replicas_min),
        max_replicas=replicas_max,
        policy=AutoscalingPolicy(policy_function=hold_utilisation, policy_kwargs={"slots": config.slots}),
        look_back_period_s=4.0,
        metrics_interval_s=1.0,
        upscale_delay_s=2.0,
        downscale_delay_s=30.0,
    )
    deployment = serve.deployment(ModelReplica).options(
        name="Model",
        autoscaling_config=scaling,
        # All requests that the engine may run or queue: the engine, not Serve's router, orders and rejects them.
        max_ongoing_requests=config.slots + len(RANKS) * config.queue,
        health_check_period_s=1.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=ANSWER_S,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
        ray_actor_options={"num_cpus": SHARD_CPUS},
    )
    if config.shards > 1:
        bundles = [{"CPU": SHARD_CPUS}] * (1 + config.shards)
        deployment = deployment.options(placement_group_bundles=bundles, placement_group_strategy="PACK")
    return deployment


def _model(settings: Settings) -> Application:
    from model.weights.load import check_model  # imports torch, as `model_deployment` does

    config = model_config(settings)
    try:
        check_model(config)
    except ConfigError as error:
        variable = {"model": "MODEL", "experts": "MODEL_EXPERTS", "lora": "MODEL_LORA"}.get(error.param or "")
        raise ConfigError(f"{PREFIX}{variable}: {error.message}" if variable else error.message) from error
    deployment = model_deployment(config, settings.replicas_min, settings.replicas_max)
    watch = partial(interrupt_watch, settings.journal_url, settings.interrupt_max_silence_s)
    return deployment.bind(config, watch, metrics_sink, set_up_logs=partial(log_to_file, settings, "model"))
