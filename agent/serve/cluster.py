"""A Ray cluster of one machine, as small as our deployments allow.

Ray's ports listen on all interfaces. Since 2.60 a new local cluster is in token mode unless
``RAY_AUTH_MODE`` says otherwise, so that whoever reaches them still cannot run code.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import ray
from ray import serve
from ray._private import auto_init_hook
from ray.serve.context import _disconnect, _get_global_client

from agent.serve.bounded_proxy import ask_for_limits
from agent.serve.folder import at_platform
from agent.serve.proxy import check_alone, raylet
from agent.serve.session import private_session
from agent.serve.sweeper import swept
from agent.serving import bind

OBJECT_STORE_BYTES = 128 * 1024 * 1024
STOP_S = 2.5
POLL_S = 0.05
LOGICAL_CPUS = 8
"""More than the machine may have: our deployments ask for shares that only count places."""


@contextmanager
def local_cluster(host: str, port: int) -> Iterator[None]:
    """A cluster with Serve's HTTP proxy at ``host:port``; ends with the context, or with this process.

    Raises:
        ConfigError: somebody else has the port, or may write where Ray's folder is to be.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ask_for_limits()
    # RAY_ENABLE_AUTO_CONNECT=0, which counts only before ray is imported: the thread of a handle's router outlives the
    # cluster, and what it asks for next would start another one, in the middle of this process's exit.
    auto_init_hook.enable_auto_connect = False
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
                bind(host, port).close()  # again, as late as can be: the proxy would share it
                serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
                check_alone(host, port, raylet())
                yield
                within(STOP_S + 1, _end_applications)
            finally:
                # Not serve.shutdown(): its controller kills itself in the middle of that call, of which Ray then says
                # that it has "infinite retries".
                _disconnect()  # a later cluster of this process has another controller
                ray.shutdown()


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
