"""Checks the address of Serve's HTTP proxy: it is the configured one, and no other process listens there.

The proxy takes its address from Serve's ``http_options``, not from our settings. It sets ``SO_REUSEPORT``, so the
kernel lets it listen on the port of another Serve instance, and each gets some of the requests.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
import ray
from click import get_current_context
from ray import serve
from ray._private.services import canonicalize_bootstrap_address
from ray.serve.config import HTTPOptions
from ray.serve.context import _get_global_client

from agent.config import Settings
from agent.serve.http_server import bind
from flightloop.errors import ConfigError

LETS_GO_S = 5.0
"""Seconds to wait for a free port: the proxy of a killed ``serve run`` keeps its port for some seconds."""
EVERYWHERE = frozenset({"0.0.0.0", "::"})
WAYS = "End it, or choose another port: http_options.port in a deploy file, or python -m agent up --port"


class PortShared(ConfigError):
    """Another process listens on the proxy's port."""


def check_proxy(settings: Settings) -> None:
    """Checks that a deployment will be alone at the configured address. Call it before building the application.

    If Serve is already running, its proxy is checked. If ``serve run`` joins a cluster only later, the front checks it
    with ``check_running``.

    Raises:
        ConfigError: the configured address differs from Serve's, or another process has the port.
    """
    if ray.is_initialized():
        if _running() is not None:
            return _check_or_shut_down(settings)
    elif _joins_a_cluster():
        return None
    options = HTTPOptions()  # Serve's defaults
    _check_same(settings, options)
    return _check_free(options.host, options.port)


def check_running(settings: Settings) -> None:
    """Refuses to continue if the running proxy has another address than configured, or shares its port.

    Raises:
        ConfigError: the address differs.
        PortShared: another process also listens there.
    """
    if (options := _running()) is not None:
        _check_same(settings, options)
        check_alone(options.host, options.port, raylet())


def raylet() -> int:
    """Process id of the common ancestor of this Ray node's workers: a worker's parent, or the driver that started the
    cluster."""
    return os.getpid() if _is_driver() else os.getppid()


def check_alone(host: str, port: int, root: int) -> None:
    """Raises PortShared if both another process and ``root`` (or a descendant of it) listen at the address."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # not on Linux
        return
    listening = [each for each in found if each.status == psutil.CONN_LISTEN and _meets(each.laddr, host, port)]
    ours = [each for each in listening if each.pid is not None and _descends(each.pid, root)]
    others = [each for each in listening if each not in ours]
    if ours and others:
        who = f"process {others[0].pid}" if others[0].pid else "a process of another user"
        raise PortShared(f"port {port} on {host}: {who} also listens there and would get some of the requests. {WAYS}")


def _check_or_shut_down(settings: Settings) -> None:
    """Checks the proxy that ``serve run FILE`` started. If its port is shared and nothing is deployed, ends Serve."""
    try:
        check_running(settings)
    except PortShared as shared:
        if not _is_driver() and not any(each.deployments for each in serve.status().applications.values()):
            print(f"error: {shared.message}. Shutting down Serve.", file=sys.stderr, flush=True)
            serve.shutdown()  # ends the controller, and this task with it
        raise


def _is_driver() -> bool:
    return bool(ray.get_runtime_context().worker.mode == ray.SCRIPT_MODE)


def _running() -> Any:
    """``http_options`` of the cluster's Serve instance; None if there is none or it serves no HTTP."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return client.http_config if client is not None and client.http_config.host else None


def starts_a_cluster() -> bool:
    """Whether ``serve run`` will start a cluster."""
    return get_current_context(silent=True) is not None and not ray.is_initialized() and not _joins_a_cluster()


def _joins_a_cluster() -> bool:
    """Whether ``serve run`` will connect to an existing cluster."""
    context = get_current_context(silent=True)
    given: Mapping[str, Any] = context.params if context else {}
    address = given.get("address")
    return "://" in (address or "") or canonicalize_bootstrap_address(address) is not None


def _check_same(settings: Settings, options: Any) -> None:
    for name in ("host", "port"):
        wanted, has = getattr(settings, name), getattr(options, name)
        if name in settings.model_fields_set and wanted != has:
            raise ConfigError(
                f"FLIGHTLOOP_{name.upper()}: is {wanted}, but Serve's HTTP proxy has {name} {has} from its"
                f" http_options. Set http_options.{name} in a deploy file (see deploy/local.yaml), or start"
                f" with python -m agent up --{name} {wanted}"
            )


def _check_free(host: str, port: int) -> None:
    """Raises ConfigError if the port is still taken after ``LETS_GO_S``."""
    end = time.monotonic() + LETS_GO_S
    while True:
        try:
            return bind(host, port).close()
        except ConfigError:
            if time.monotonic() > end:
                raise ConfigError(f"port {port} on {host} is taken, and Serve's HTTP proxy needs it. {WAYS}") from None
        time.sleep(0.1)


def _meets(address: Any, host: str, port: int) -> bool:
    return address.port == port and (address.ip == host or bool(EVERYWHERE & {address.ip, host}))


def _descends(pid: int, root: int) -> bool:
    with suppress(psutil.Error):
        return pid == root or root in {parent.pid for parent in psutil.Process(pid).parents()}
    return False
