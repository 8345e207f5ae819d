"""A Ray cluster of one machine, as small as our deployments allow.

Ray's ports listen on all interfaces. Since 2.60 a new local cluster is in token mode unless
``RAY_AUTH_MODE`` says otherwise, so that whoever reaches them still cannot run code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray import serve
from ray._private import auto_init_hook

OBJECT_STORE_BYTES = 128 * 1024 * 1024
LOGICAL_CPUS = 8
"""More than the machine may have: our deployments ask for shares that only count places."""


@contextmanager
def local_cluster(host: str, port: int) -> Iterator[None]:
    """A cluster with Serve's HTTP proxy at ``host:port``; ends with the context, or with this process."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # RAY_ENABLE_AUTO_CONNECT=0, which counts only before ray is imported: the thread of a handle's router outlives the
    # cluster, and what it asks for next would start another one, in the middle of this process's exit.
    auto_init_hook.enable_auto_connect = False
    ray.init(
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        num_cpus=LOGICAL_CPUS,
        log_to_driver=False,
        logging_level=logging.ERROR,
        namespace="serve",
    )
    try:
        serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
        yield
        serve.shutdown()
    finally:
        ray.shutdown()
