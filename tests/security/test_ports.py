"""Every way to start answers on the port that was asked for, and on no port that somebody else has."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from click import ClickException

from agent.app import build
from agent.config import load_settings
from agent.serve.held_port import held_port
from agent.serve.http_server import bind
from agent.serve.proxy import PortShared, check_alone, check_proxy
from bench.platform import Platform
from flightloop.errors import ConfigError
from tests.security.platforms import ROOT, environment, free_port, on_ray

SERVE = [sys.executable, "-c", "from ray.serve.scripts import cli; cli()"]


@contextmanager
def shared(port: int = 0) -> Iterator[int]:
    """Somebody who listens as Serve's proxy does: whoever also sets SO_REUSEPORT may listen as well."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_others_would_share_is_taken() -> None:
    with shared() as port, shared(port):
        with pytest.raises(ConfigError, match="is taken"):
            bind("127.0.0.1", port)
        with pytest.raises(ConfigError, match="is taken"):
            bind("0.0.0.0", port)


GO_ON = """
import os, sys
from agent.serve.held_port import held_port
with held_port("127.0.0.1", int(sys.argv[1])) as port:
    if "again" not in sys.argv:
        port.keep_over_exec()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "again"])
    print(len(os.listdir("/proc/self/fd")))
"""


def binds_as_another_user(port: int) -> bool:
    """Asked of a child of ours: another user may not be able to start this Python."""
    if (child := os.fork()) == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            with shared(port):
                os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, errno.EADDRINUSE)
    return status == 0


def test_a_held_port_is_this_users_alone() -> None:
    port = free_port()
    with held_port("127.0.0.1", port):
        with pytest.raises(ConfigError, match="is taken"), held_port("127.0.0.1", port):
            pass
        with shared(port), socket.create_connection(("127.0.0.1", port)):  # a program of ours, as Serve's proxy is
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        if os.geteuid() == 0:
            assert binds_as_another_user(port) is False
    bind("127.0.0.1", port).close()


def test_a_port_whose_last_connections_still_close_is_said_to_be_free_soon() -> None:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.setblocking(True)
    with listener, socket.create_connection(("127.0.0.1", port)) as client:
        listener.accept()[0].close()
        assert client.recv(1) == b""
    with pytest.raises(ConfigError, match="still closing; try again in a minute"), held_port("127.0.0.1", port):
        pass


def test_a_held_port_stays_held_where_the_process_is_executed_anew() -> None:
    command = [sys.executable, "-c", GO_ON, str(free_port())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "5", done.stderr  # stdin, stdout, stderr, the port, and the folder that is listed


@pytest.mark.parametrize(("name", "value"), [("port", "8123"), ("port", "0"), ("host", "0.0.0.0")])
def test_an_address_that_serve_would_ignore_is_refused(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for given in ({name: value}, {}):
        with pytest.raises(ClickException) as caught:
            build({"home": str(tmp_path / "home"), **given})
        assert f"FLIGHTLOOP_{name.upper()}: is {value}" in caught.value.message
        assert f"http_options.{name}" in caught.value.message
        monkeypatch.setenv(f"FLIGHTLOOP_{name.upper()}", value)  # and so from the environment


def test_the_port_that_serve_would_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    settings = load_settings(home=tmp_path)
    try:
        bind("127.0.0.1", 8000).close()
    except ConfigError:
        pytest.skip("port 8000 is not free here")
    check_proxy(settings)
    with shared(8000), pytest.raises(ConfigError, match=r"port 8000 on \S+ is taken"):
        check_proxy(settings)


def refused(*command: str, env: dict[str, str]) -> str:
    """What a command says that does not start."""
    line = [sys.executable, "-m", *command]
    done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.any_user
def test_whoever_starts_is_told_of_a_port_that_is_taken(tmp_path: Path) -> None:
    with shared() as port:
        env = environment(tmp_path, FLIGHTLOOP_MODEL_URL="http://127.0.0.1:1", FLIGHTLOOP_CONSOLE_PORT=str(port))
        taken = f"port {port} on 127.0.0.1 is taken"
        assert taken in refused("agent", "serve", "--port", str(port), env=env)
        assert taken in refused("agent", "up", "--port", str(port), env=env)
        assert f"console: port {port} is taken" in refused("agent", "up", "--port", str(free_port()), env=env)
        assert f"the console cannot listen on 127.0.0.1:{port}" in refused("dashboards", env=env)
        with pytest.raises(ConfigError, match=taken):  # as the demo starts it
            Platform(tmp_path / "home", port).__enter__()


def test_deploy_files_name_the_address_of_serves_proxy() -> None:
    for file in sorted((ROOT / "deploy").glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        if "applications" in document:
            assert {"host", "port"} <= document["http_options"].keys(), file
            assert document["http_options"]["host"] == "127.0.0.1", file


def test_listeners_of_others_are_told_from_our_own() -> None:
    """A child of this process stands for the proxy, as a child of Ray's for a worker."""
    listen = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('listens', flush=True); sys.stdin.read()"
    )
    port = free_port()
    command = [sys.executable, "-c", listen, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdout.readline() == b"listens\n"
        check_alone("127.0.0.1", port, proxy.pid)
        with shared(port), pytest.raises(PortShared, match=f"process {os.getpid()} also listens there"):
            check_alone("127.0.0.1", port, proxy.pid)
        with shared(port):
            check_alone("127.0.0.1", port, os.getpid())  # one family
        assert proxy.stdin is not None
        proxy.stdin.close()


def listening(port: int) -> set[int | None]:
    """Processes that listen on a port."""
    found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return {each.pid for each in found if each.laddr and each.laddr.port == port}


@pytest.mark.ray
@pytest.mark.slow
def test_serve_leaves_a_port_that_a_platform_has(tmp_path: Path) -> None:
    with on_ray(tmp_path, FLIGHTLOOP_MODEL_URL="http://127.0.0.1:1", FLIGHTLOOP_MODEL_NAME="none") as platform:
        family = platform.start()
        document = yaml.safe_load((ROOT / "deploy" / "local.yaml").read_text())
        document["http_options"]["port"] = platform.port
        file = tmp_path / "beside.yaml"
        file.write_text(yaml.safe_dump(document))
        env = {**platform.env, "FLIGHTLOOP_HOME": str(tmp_path / "beside")}
        command = [*SERVE, "run", str(file)]
        with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as beside:
            assert beside.stdout is not None
            try:
                said = next(line for line in beside.stdout if b"error: port" in line)
                assert f"port {platform.port} on 127.0.0.1: process ".encode() in said
                end = time.monotonic() + 30
                while not listening(platform.port) <= {process.pid for process in family}:
                    assert time.monotonic() < end, "Serve still listens there"
                    time.sleep(0.05)
                for _ in range(20):
                    assert httpx.get(f"{platform.url}/healthz", timeout=10).status_code == 200
            finally:
                beside.send_signal(signal.SIGINT)
                try:
                    beside.communicate(timeout=60)
                except subprocess.TimeoutExpired:  # where whoever runs the tests ignores Ctrl-C, it does, too
                    beside.kill()
        assert platform.end(signal.SIGINT) == 0
