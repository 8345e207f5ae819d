"""A Ray cluster of one machine, as small as our deployments allow.

Its ports listen on the loopback interface only. Since 2.60 a new local cluster is in token mode unless
``RAY_AUTH_MODE`` says otherwise, so that other users of the machine, who reach them, still cannot run code.
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
"""More than the machine may have: our deployments ask for shares that only count places."""
SERVERS = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)
"""Of Ray's processes those without which no other one goes on."""


class ClusterLost(Exception):
    """A server of Ray's has ended by itself, and all that ran on it with it."""


@contextmanager
def local_cluster(host: str, port: int) -> Iterator[Callable[[], None]]:
    """A cluster with Serve's HTTP proxy at ``host:port``; ends with the context, or with this process. Its value waits
    until it is lost, and raises ClusterLost: the context has to be left then, and the process to end or to be executed
    anew. Within a minute Ray would end it.

    Raises:
        ConfigError: somebody else has the port, or may write where Ray's folder is to be.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ask_for_limits()
    # RAY_ENABLE_AUTO_CONNECT=0, which counts only before ray is imported: the thread of a handle's router outlives the
    # cluster, and what it asks for next would start another one, in the middle of this process's exit.
    auto_init_hook.enable_auto_connect = False
    _on_loopback()
    with private_session():
        with at_platform():
            context = ray.init(
                address="local",  # never one that happens to run here
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
                if _gone():  # what asks them for anything now waits for ever, or ends this process
                    _node().kill_all_processes(check_alive=False, allow_graceful=False)
                else:
                    # Not serve.shutdown(): its controller kills itself in the middle of that call, of which Ray then
                    # says that it has "infinite retries".
                    _disconnect()  # a later cluster of this process has another controller
                    ray.shutdown()


def _on_loopback() -> None:
    """Ray's servers listen where their node's address is, which is this one where the machine belongs to no cluster;
    Ray asks that of other systems than Linux only. Given as an argument it would be replaced by the machine's."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # read by its processes
    ray_constants.ENABLE_RAY_CLUSTER = False


def _node() -> Any:
    return ray._private.worker._global_node


def _gone() -> list[str]:
    """Which of Ray's servers have ended by themselves."""
    return [kind for kind, _ in _node().dead_processes() if kind in SERVERS]


def _wait_for_loss() -> None:
    while not (gone := _gone()):
        time.sleep(WATCH_S)
    raise ClusterLost(gone[0])


def within(seconds: float, action: Callable[[], None]) -> None:
    """Does what Ray has a part in, and waits no longer than that for it.

    A signal to the whole process group, as service managers send it, ends Ray's servers before this process has asked
    them for anything, and calls to a server that is gone wait for ever.
    """
    thread = Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)


def _end_applications() -> None:
    """Lets the replicas stop in order; those that are late end with the cluster."""
    for name in serve.status().applications:
        serve.delete(name, _blocking=False)
    end = time.monotonic() + STOP_S
    while serve.status().applications and time.monotonic() < end:
        time.sleep(POLL_S)
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is not None:
        client.shutdown_cached_handles()  # or their threads ask a cluster that is gone, and log that
