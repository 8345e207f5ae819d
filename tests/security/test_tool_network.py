"""A tool connects only to where it says, and never to the platform."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.tool import tool
from tests.security.conftest import WAYS, Deployment
from tools.sandbox.endpoints import Endpoints, parse

CALLER = '''
import ctypes, os, socket, subprocess, sys, threading
from flightloop.tool import ToolContext, tool

RIGHTS = dict(effect="pure", permissions=("network", "subprocess"), hosts=("@egress",))


def tried(function, *arguments):
    try:
        return str(function(*arguments))
    except OSError as error:
        return type(error).__name__


def connected(host, port):
    with socket.create_connection((host, port), 3) as made:
        return made.recv(5).decode()


@tool(**RIGHTS)
def connect(context: ToolContext, host: str, port: int) -> str:
    """Connects and reads."""
    return tried(connected, host, port)


@tool(**RIGHTS)
def connect_in_threads(context: ToolContext, host: str, port: int) -> list:
    """Connects from eight threads, blocking."""
    told = []
    threads = [threading.Thread(target=lambda: told.append(tried(connected, host, port))) for _ in range(8)]
    for one in threads: one.start()
    for one in threads: one.join()
    return told


@tool(**RIGHTS)
def connect_by_program(context: ToolContext, host: str, port: int) -> str:
    """Connects from a program."""
    code = "import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),3); print(s.recv(5).decode())"
    done = subprocess.run([sys.executable, "-S", "-c", code, host, str(port)], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@tool(**RIGHTS)
def other_ways(context: ToolContext, port: int, path: str) -> dict:
    """Ways round connect."""
    def made(family, kind, protocol=0):
        with socket.socket(family, kind, protocol): return "made"
    def bound():
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", port)); return "bound"
    def listening():
        with socket.socket() as one: one.listen(); return "listening"
    def fast():
        with socket.socket() as one: return one.sendto(b"GET", 0x20000000, ("127.0.0.1", port))
    def fast_message():
        with socket.socket() as one: return one.sendmsg([b"GET"], [], 0x20000000, ("127.0.0.1", port))
    def mapped():
        with socket.socket(socket.AF_INET6) as one: one.connect(("::ffff:127.0.0.1", port)); return "connected"
    def unspecified():
        with socket.socket() as one: one.connect(("0.0.0.0", port)); return "connected"
    libc = ctypes.CDLL(None, use_errno=True)
    def ring():
        if libc.syscall(425, 8, ctypes.create_string_buffer(120)) < 0: raise OSError(ctypes.get_errno(), "")
        return "made"
    return {
        "udp": tried(made, socket.AF_INET, socket.SOCK_DGRAM), "raw": tried(made, socket.AF_INET, socket.SOCK_RAW),
        "unix": tried(made, socket.AF_UNIX, socket.SOCK_STREAM), "netlink": tried(made, socket.AF_NETLINK, 3),
        "vsock": tried(made, socket.AF_VSOCK, socket.SOCK_STREAM), "mptcp": tried(made, socket.AF_INET, 1, 262),
        "bind": tried(bound), "listen": tried(listening), "fastopen": tried(fast), "message": tried(fast_message),
        "mapped": tried(mapped), "unspecified": tried(unspecified), "ring": tried(ring),
    }


@tool(effect="pure")
def without_permission(host: str, port: int) -> str:
    """Connects."""
    return tried(connected, host, port)
'''
REFUSED = ("PermissionError", "[Errno 13]")


@pytest.fixture
def service() -> Iterator[int]:
    """Somebody's service on this machine, which greets."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "tools.py"
    path.write_text(CALLER)
    return path


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_is_named_is_reached_and_nothing_else(
    deployment: Deployment, project: Path, service: int, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project)
    target = {"host": "127.0.0.1", "port": service}
    named = deployment.context(egress=(f"127.0.0.1:{service}",))
    assert (await hosts.call("connect", target, named)).content == "hello"
    assert (await hosts.call("connect_by_program", target, named)).content == "hello"
    assert (await hosts.call("connect_in_threads", target, named)).content == ["hello"] * 8
    for egress in ((), ("127.0.0.1",), ("localhost",), ("*",), (f"10.0.0.1:{service}",), (f"*:{service}",)):
        refused = await hosts.call("connect", target, deployment.context(egress=egress))
        assert refused.content == "PermissionError", egress
    assert (await hosts.call("without_permission", target, named)).content == "PermissionError"


async def test_no_other_way_leads_out(deployment: Deployment, project: Path, service: int) -> None:
    hosts = await deployment.hosts(project)
    context = deployment.context(egress=("api.example.com",))
    tried = await hosts.call("other_ways", {"port": service, "path": str(deployment.home)}, context)
    assert tried.ok, tried.error
    assert set(tried.content.values()) <= {"PermissionError"}, tried.content


async def test_a_port_of_the_platform_is_never_reached(deployment: Deployment, project: Path, service: int) -> None:
    """The API's, the console's, Prometheus's, the database's: even where a tool and its policy name it."""
    hosts = await deployment.hosts(project, reserved_ports=(service,))
    for caller in ("connect", "connect_by_program"):
        for host in ("127.0.0.1", "localhost"):
            named = deployment.context(egress=(f"127.0.0.1:{service}", f"localhost:{service}", f"[::1]:{service}"))
            refused = await hosts.call(caller, {"host": host, "port": service}, named)
            assert any(word in refused.content for word in REFUSED), refused.content


LISTENS = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


async def test_a_port_that_ray_took_is_never_reached(deployment: Deployment, project: Path, tmp_path: Path) -> None:
    (tmp_path / "gcs_server").write_text(LISTENS)
    with subprocess.Popen(  # noqa: ASYNC220 (it only waits)
        [sys.executable, str(tmp_path / "gcs_server")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        hosts = await deployment.hosts(project)
        named = deployment.context(egress=(f"127.0.0.1:{port}",))
        refused = await hosts.call("connect", {"host": "127.0.0.1", "port": port}, named)
        assert refused.content == "PermissionError"
        process.communicate("\n")


def test_a_network_tool_names_its_hosts() -> None:
    with pytest.raises(TypeError, match="needs hosts="):

        @tool(permissions=("network",))
        def call() -> None:
            """Calls."""

    with pytest.raises(TypeError, match=r"hosts needs permissions=\('network',\)"):

        @tool(hosts=("a.example",))
        def call_too() -> None:
            """Calls."""

    with pytest.raises(TypeError, match="must be an absolute path"):

        @tool(permissions=("files",), folders=("reports",))
        def write() -> None:
            """Writes."""


PUBLIC, PRIVATE, LOOPBACK = ip_address("93.184.216.34"), ip_address("10.1.2.3"), ip_address("127.0.0.1")


def endpoints(*allowed: str, **more: object) -> Endpoints:
    names = {
        "api.example.com": {PUBLIC}, "inside.example.com": {PRIVATE}, "db.example.com": {PRIVATE},
        "cloud.example.com": {ip_address("169.254.169.254")},
    }  # fmt: skip
    return Endpoints(
        tuple(map(parse, allowed)),
        resolve=lambda name: names.get(name, set()),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("entry", "address", "port", "permitted"),
    [
        ("api.example.com", PUBLIC, 443, True),
        ("api.example.com", PUBLIC, 80, True),
        ("api.example.com", PUBLIC, 22, False),
        ("api.example.com:22", PUBLIC, 22, True),
        ("api.example.com:22", PUBLIC, 443, False),
        ("other.example.com", PUBLIC, 443, False),
        ("*", PUBLIC, 443, True),
        ("*.example.com", PUBLIC, 443, True),
        ("*:8443", PUBLIC, 443, False),
        ("*", PRIVATE, 443, False),
        ("*", ip_address("169.254.169.254"), 80, False),
        ("*", ip_address("::ffff:10.1.2.3"), 443, False),
        ("10.1.2.3", PRIVATE, 443, True),
        ("10.1.2.3", ip_address("::ffff:10.1.2.3"), 443, True),
        ("inside.example.com:5000", PRIVATE, 5000, True),
        ("*", LOOPBACK, 443, False),
        ("localhost:5000", LOOPBACK, 5000, True),
        ("localhost:5000", ip_address("::1"), 5000, True),
        ("127.0.0.1:5000", ip_address("127.0.0.2"), 5000, False),
        ("127.0.0.1:5000", ip_address("0.0.0.0"), 5000, False),
        ("[fd00::7]:8080", ip_address("fd00::7"), 8080, True),
        ("localhost", LOOPBACK, 80, False),
        ("localhost", LOOPBACK, 443, False),
        ("127.0.0.1", LOOPBACK, 80, False),
        ("inside.example.com", ip_address("10.1.2.3"), 443, False),
        ("cloud.example.com", ip_address("169.254.169.254"), 80, False),
        ("cloud.example.com:80", ip_address("169.254.169.254"), 80, False),
        ("169.254.169.254:80", ip_address("169.254.169.254"), 80, True),
        *(
            ("*", ip_address(inside), 80, False)
            for inside in (
                "64:ff9b::7f00:1",
                "64:ff9b::a9fe:a9fe",
                "2002:7f00:1::",
                "2002:a9fe:a9fe::",
                "::ffff:10.0.0.1",
                "fec0::1",
                "192.88.99.1",
                "100.64.0.1",
                "224.0.0.1",
                "ff0e::1",
                "2001::1",
            )
        ),
    ],
)
def test_what_an_entry_permits(entry: str, address: object, port: int, permitted: bool) -> None:
    assert endpoints(entry).permits(address, port) is permitted  # type: ignore[arg-type]


def test_the_platforms_own_endpoints_are_barred_elsewhere_too() -> None:
    known = endpoints("10.1.2.3:5432", "db.example.com:5432", "*:5432", barred=(("db.example.com", 5432),))
    assert not known.permits(PRIVATE, 5432)
    mine = endpoints("10.1.2.3:9000", local={PRIVATE}, reserved={9000})
    assert not mine.permits(PRIVATE, 9000)
    assert not endpoints("127.0.0.1:9000", is_platform=lambda port: port == 9000).permits(LOOPBACK, 9000)


def test_nameservers_are_asked_where_there_is_a_name_to_ask_for() -> None:
    assert endpoints("api.example.com", nameservers={LOOPBACK}).permits(LOOPBACK, 53)
    assert not endpoints("10.1.2.3", nameservers={LOOPBACK}).permits(LOOPBACK, 53)


@settings(deadline=None, database=None)  # which an ordinary user could not write into this checkout
@given(st.ip_addresses(), st.integers(1, 65535), st.sets(st.integers(1, 65535)))
def test_no_entry_reaches_a_reserved_port_of_this_machine(address: object, port: int, reserved: set[int]) -> None:
    entries = (f"[{address}]:{port}", f"*:{port}", f"localhost:{port}")
    known = endpoints(*entries, local={address}, reserved={port, *reserved})
    assert not known.permits(address, port)  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", ["", ":80", "a:0", "a:65536", "a:b", "http://a", "[::1", "[::1]x", "a/b"])
def test_what_is_no_entry_is_told(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|the port after the colon"):
        parse(entry)
