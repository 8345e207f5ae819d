"""A local Ray cluster, as small as our deployments allow.

Its ports listen on the loopback interface only. Since Ray 2.60 a new local cluster uses token authentication unless
``RAY_AUTH_MODE`` selects another mode, so other users of the machine can connect but not run code.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import ray
from ray import serve
from ray._private import auto_init_hook, ray_constants
from ray.serve.context import _disconnect, _get_global_client

from agent.serve.bounded_proxy import ask_for_limits
from agent.serve.folder import at_platform
from agent.serve.proxy import check_alone, raylet
from agent.serve.session import private_session
from agent.serve.sweeper import swept

OBJECT_STORE_BYTES = 128 * 1024 * 1024
STOP_S = 2.5
POLL_S = 0.05
WATCH_S = 0.2
LOGICAL_CPUS = 8
"""Nominal, may exceed the machine's CPUs: our deployments request CPUs only for Ray's placement."""
SERVERS = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)
"""Ray's processes without which the cluster is lost."""


class ClusterLost(Exception):
    """A Ray server ended unexpectedly; all work on the cluster is lost."""


@contextmanager
def local_cluster(host: str, port: int) -> Iterator[Callable[[], None]]:
    """Runs a cluster with Serve's HTTP proxy at ``host:port``. It ends with the context or with this process.

    Yields a function that blocks until the cluster is lost and then raises ClusterLost. After that, leave the context
    and end or re-execute the process, because Ray would end it within a minute.

    Raises:
        ConfigError: the port is taken, or other users can write to the folder for Ray's session.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ask_for_limits()
    # Same as RAY_ENABLE_AUTO_CONNECT=0, which is only read when ray is imported. The thread of a handle's router
    # outlives the cluster, and its next call would start another cluster while this process exits.
    auto_init_hook.enable_auto_connect = False
    _on_loopback()
    with private_session():
        with at_platform():
            context = ray.init(
                address="local",  # never a cluster that already runs here
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                num_cpus=LOGICAL_CPUS,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="serve",
            )
        with swept(context.address_info["session_dir"]):
            try:
                serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
                check_alone(host, port, raylet())
                yield _wait_for_loss
                within(STOP_S + 1, _end_applications)
            finally:
                if _gone():  # calls to a lost server would block forever or end this process
                    _node().kill_all_processes(check_alive=False, allow_graceful=False)
                else:
                    # Not serve.shutdown(): its controller kills itself during that call, and Ray then reports
                    # "infinite retries".
                    _disconnect()  # a later cluster of this process has another controller
                    ray.shutdown()


def _on_loopback() -> None:
    """Makes Ray's servers listen on loopback, by disabling clusters of several machines: servers bind to their node's
    address, which is then loopback. Ray does so by itself only on macOS and Windows, and replaces a loopback address
    given as an argument."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # read by its processes
    ray_constants.ENABLE_RAY_CLUSTER = False


def _node() -> Any:
    return ray._private.worker._global_node


def _gone() -> list[str]:
    """Kinds of Ray servers that have ended unexpectedly."""
    return [kind for kind, _ in _node().dead_processes() if kind in SERVERS]


def _wait_for_loss() -> None:
    while not (gone := _gone()):
        time.sleep(WATCH_S)
    raise ClusterLost(gone[0])


def within(seconds: float, action: Callable[[], None]) -> None:
    """Runs an action that calls Ray in a thread, and waits at most ``seconds`` for it.

    A service manager signals the whole process group. Ray's servers may then end before this process has called them,
    and calls to a lost server block forever.
    """
    thread = Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)


def _end_applications() -> None:
    """Stops the replicas gracefully; those that take longer than ``STOP_S`` end with the cluster."""
    for name in serve.status().applications:
        serve.delete(name, _blocking=False)
    end = time.monotonic() + STOP_S
    while serve.status().applications and time.monotonic() < end:
        time.sleep(POLL_S)
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is not None:
        client.shutdown_cached_handles()  # otherwise their threads log errors about the lost cluster
