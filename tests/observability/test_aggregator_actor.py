"""The aggregator as a Ray actor: one for all, and back after its death."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest
import ray

from observability import catalog as c
from observability.metrics import Metrics
from observability.network import measure
from observability.reporter import Reporter
from observability.serve import aggregator_actor
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


def test_everybody_reports_to_one_and_it_comes_back(namespace):
    actor = aggregator_actor.get_or_create(namespace)
    deliver = aggregator_actor.sink(actor)
    same = aggregator_actor.sink(aggregator_actor.get_or_create(namespace))
    api, replica = Metrics("api"), Metrics("replica")
    replica.inc(c.MODEL_INTERRUPTED, 2, model="m")
    api.inc(c.MODEL_INTERRUPTED, 3, model="m")
    measure(api, "a", {"b": lambda: ray.get(actor.ping.remote())})
    deliver(replica.snapshot())
    same(api.snapshot())

    body, content_type = ray.get(actor.render.remote("application/openmetrics-text; version=1.0.0"))
    assert b'flightloop_model_interrupted_total{model="m"} 5.0' in body
    assert content_type.startswith("application/openmetrics-text")
    values: Values = ray.get(actor.values.remote())
    assert values.histogram(c.SYSTEM_NETWORK_SECONDS).count == 1

    ray.kill(actor, no_restart=False)
    with Reporter(replica, deliver, interval_s=60) as reporter:
        assert reporter.flush()
        api.inc(c.MODEL_INTERRUPTED, model="m")
        deliver(api.snapshot())
        assert ray.get(actor.values.remote()).value(c.MODEL_INTERRUPTED) == 6
    ray.kill(actor)
