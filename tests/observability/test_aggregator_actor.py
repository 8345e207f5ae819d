"""The aggregator as a Ray actor: one for all, and back after its death."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
import ray
from ray import serve

from observability import catalog as c
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.serve import aggregator_actor
from observability.serve.deployments import sample_replicas
from observability.serve.nodes import NodePings
from observability.values import Values

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """In a cluster of its own, or in the one that other tests of this session hold."""
    name = f"test-{uuid4().hex}"
    if ray.is_initialized():
        yield name
        return
    ray.init(
        "local",
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        num_cpus=2,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield name
    ray.shutdown()


def process_of(actor: Any) -> int:
    for _ in range(100):
        try:
            return ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=30)
        except ray.exceptions.ActorUnavailableError:
            Event().wait(0.05)
    raise AssertionError("the actor did not come back")


def test_everybody_reports_to_one_and_it_comes_back(namespace):
    actor = aggregator_actor.get_or_create(namespace)
    deliver = aggregator_actor.sink(actor)
    same = aggregator_actor.sink(aggregator_actor.get_or_create(namespace))
    api, replica = Metrics("api"), Metrics("replica")
    replica.inc(c.MODEL_INTERRUPTED, 2, model="m")
    api.inc(c.MODEL_INTERRUPTED, 3, model="m")
    deliver(replica.snapshot())
    same(api.snapshot())

    body, content_type = ray.get(actor.render.remote("application/openmetrics-text; version=1.0.0"))
    assert b'flightloop_model_interrupted_total{model="m"} 5.0' in body
    assert content_type.startswith("application/openmetrics-text")
    values: Values = ray.get(actor.values.remote())
    assert values.value(c.SYSTEM_METRICS_PROCESSES) == 2

    before = process_of(actor)
    ray.kill(actor, no_restart=False)
    for _ in range(200):  # the kill takes effect while the first calls still reach the old process
        if process_of(actor) != before:
            break
        Event().wait(0.05)
    assert ray.get(actor.values.remote()).value(c.MODEL_INTERRUPTED) is None
    with Reporter(replica, deliver, interval_s=60) as reporter:
        assert reporter.flush()
        api.inc(c.MODEL_INTERRUPTED, model="m")
        deliver(api.snapshot())
        assert ray.get(actor.values.remote()).value(c.MODEL_INTERRUPTED) == 6
    ray.kill(actor)


def test_the_network_is_measured_even_on_one_node(namespace):
    metrics = Metrics("api")
    pings = NodePings(metrics)
    pings.sample()
    pings.sample()
    pings.close()
    values = Values(metrics.snapshot().series)
    assert values.histogram(c.SYSTEM_NETWORK_SECONDS).count == 2
    assert values.value(c.SYSTEM_NETWORK_FAILURES) == 0


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0})
class Idle:
    def __call__(self) -> None:
        """Only there to be counted."""


def test_replicas_are_counted(namespace):
    if not serve.status().applications:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
    serve.run(Idle.bind(), name=namespace, route_prefix=None)
    metrics = Metrics("api")
    sample_replicas(metrics)
    serve.delete(namespace)
    assert Values(metrics.snapshot().series).value(c.SYSTEM_REPLICAS, deployment="Idle") == 2
