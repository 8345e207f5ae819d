"""The composition root of a deployment on Ray: ``serve run agent.app:build``.

Settings come from the environment (``FLIGHTLOOP_*``) and, over it, from the application's arguments
(``serve run agent.app:build replicas_max=4``, or ``args:`` in a deploy file). They are resolved here,
once, and passed on: the processes of a cluster don't see this shell.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application

from agent.config import Settings, load_settings
from agent.serve.deployments import interrupt_watch, metrics_sink, model_deployment
from agent.serve.ingress import Ingress
from agent.serve.worker import WorkerHost
from model.config import ModelConfig

STREAMS = 200
"""Requests that the ingress serves at a time; most of them are open streams that wait."""
SHUTDOWN_S = 30.0


def build(args: dict[str, Any]) -> Application:
    """The application: ingress, workers, and the model unless it is remote.

    Args:
        args: settings that win over the environment, by their names in ``agent.config.Settings``.

    Raises:
        ConfigError: one line that names the variable and what it takes.
    """
    return application(load_settings(**args))


def application(settings: Settings) -> Application:
    """As ``build``, of settings that are already resolved."""
    settings = settings.model_copy(
        update={"home": settings.home.resolve(), "project": settings.project and settings.project.resolve()}
    )
    settings.keyring()  # a key that can't be kept is an error here, where whoever starts it reads it
    model = None if settings.model_url else _model(settings)
    worker = serve.deployment(WorkerHost).options(
        name="Worker",
        num_replicas=settings.workers,
        ray_actor_options={"num_cpus": 0.5},
        graceful_shutdown_timeout_s=SHUTDOWN_S,
    )
    ingress = serve.deployment(Ingress).options(
        name="Api",
        num_replicas=1,
        max_ongoing_requests=STREAMS,
        ray_actor_options={"num_cpus": 0.5},
        graceful_shutdown_timeout_s=SHUTDOWN_S,
    )
    return ingress.bind(settings, model, worker.bind(settings, model))


def model_config(settings: Settings) -> ModelConfig:
    """How each replica loads the model."""
    return ModelConfig(
        model=settings.model,
        dtype=settings.model_dtype,
        experts=str(settings.model_experts.resolve()) if settings.model_experts else None,
        slots=settings.model_slots,
        shards=settings.model_shards,
        threads=settings.model_threads or "auto",
    )


def _model(settings: Settings) -> Application:
    config = model_config(settings)
    deployment = model_deployment(config, settings.replicas_min, settings.replicas_max)
    watch = partial(interrupt_watch, settings.journal_url, settings.interrupt_max_silence_s)
    return deployment.bind(config, watch, metrics_sink)
