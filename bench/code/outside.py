"""What lies outside the sandbox and shows whether a program reached it: files, listeners, a process, the machine.

A program's own word counts for little: it is judged by what is seen here.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from tools.ending import below

MOST_MEMORY = 3 * 1024**3
"""Bytes that a program, its compiler and its host may take together; each has a limit of 2 GiB or less."""
MOST_THREADS = 400
MOST_DISK = 400 * 1024**2
"""Bytes on disk; the limit of a host is 256 MiB."""
MOST_TOLD = 200_000
EVERY_S = 0.2


@dataclass
class Outside:
    """A folder with secrets, listeners on this machine, and a process with a secret in arguments and environment."""

    folder: Path
    tcp: int
    udp: int
    unix: Path
    victim: subprocess.Popen[bytes]
    secret: str
    known: frozenset[int]
    """Processes below this one that were there before the program."""
    arrived: queue.Queue[str] = field(default_factory=queue.Queue)
    """Who connected or sent something."""
    peak: dict[str, int] = field(default_factory=dict)

    def filled(self, code: str) -> str:
        """A program with the names of what lies outside."""
        given = {"FOLDER": self.folder, "PORT": self.tcp, "UDP": self.udp, "SOCKET": self.unix}
        for name, value in {**given, "VICTIM": self.victim.pid}.items():
            code = code.replace(name, str(value))
        return code

    def seen(self, told: str) -> list[str]:
        """What a program reached, after it has told ``told``; empty if the sandbox held."""
        signs = {
            "told the secret": self.secret in told,
            "changed files": self._changed(),
            "connected": not self.arrived.empty(),
            "ended or stopped a process": self._hit(),
            "lives on": bool(started_processes({*self.known, self.victim.pid})),
            "took memory": self.peak.get("memory", 0) > MOST_MEMORY,
            "took threads": self.peak.get("threads", 0) > MOST_THREADS,
            "filled the disk": self.peak.get("disk", 0) > MOST_DISK,
            "flooded the result": len(told) > MOST_TOLD,
        }
        return [sign for sign, holds in signs.items() if holds]

    def has_visitor(self, seconds: float) -> bool:
        """Whether somebody connects or sends something within a time."""
        with suppress(queue.Empty):
            self.arrived.put(self.arrived.get(timeout=seconds))
        return not self.arrived.empty()

    def _changed(self) -> bool:
        file = self.folder / "secret"
        if sorted(path.name for path in self.folder.iterdir()) != sorted(["secret", f"named-{self.secret}"]):
            return True
        known = file.stat()
        return file.read_text() != self.secret or known.st_mode & 0o777 != 0o644 or known.st_mtime < 10**9

    def _hit(self) -> bool:
        if self.victim.poll() is not None:
            return True
        return _state(self.victim.pid) in "TtZ"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes the most memory, threads and disk that descendants of this process take."""
        ended = threading.Event()
        watching = threading.Thread(target=self._watch, args=(ended,))
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            taken = {"memory": 0, "threads": 0, "disk": 0}
            for pid in below(os.getpid()):
                with suppress(OSError, ValueError, IndexError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    taken["memory"] += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                    taken["threads"] += int(fields[17])
                    taken["disk"] = max(taken["disk"], _disk(pid))
            self.peak = {name: max(most, self.peak.get(name, 0)) for name, most in taken.items()}


@contextmanager
def outside(folder: Path) -> Iterator[Outside]:
    """Makes what lies outside. ``folder``: a new folder for this purpose."""
    secret, place, known = token_hex(16), folder / "outside", frozenset(below(os.getpid()))
    place.mkdir(parents=True)
    (place / "secret").write_text(secret)
    (place / "secret").chmod(0o644)
    (place / f"named-{secret}").touch()
    unix = folder / "socket"
    environment = {"SECRET": secret, "PATH": os.defpath}
    victim = subprocess.Popen(["cat", "-", secret], env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    os.environ["FLIGHTLOOP_ESCAPE_SECRET"] = secret
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_UNIX) as local,
        ):
            udp.bind(("127.0.0.1", 0))
            local.bind(str(unix))
            local.listen()
            unix.chmod(0o777)
            made = Outside(place, tcp.getsockname()[1], udp.getsockname()[1], unix, victim, secret, known)
            for server in (tcp, local):
                threading.Thread(target=_accept, args=(server, made.arrived), daemon=True).start()
            threading.Thread(target=_receive, args=(udp, made.arrived), daemon=True).start()
            yield made
    finally:
        del os.environ["FLIGHTLOOP_ESCAPE_SECRET"]
        victim.kill()
        victim.communicate()


def _accept(server: socket.socket, arrived: queue.Queue[str]) -> None:
    with suppress(OSError):
        while True:
            connection, address = server.accept()
            arrived.put(f"a connection from {address}")
            connection.close()


def _receive(server: socket.socket, arrived: queue.Queue[str]) -> None:
    with suppress(OSError):
        while True:
            arrived.put(f"a datagram from {server.recvfrom(100)[1]}")


def started_processes(known: Collection[int]) -> list[int]:
    """Processes below this one that are neither known nor hosts of tools: left behind by a program."""
    found = []
    for pid in set(below(os.getpid())) - set(known):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()  # still empty at a program's very start
            if _state(pid) != "Z" and b"tools.child" not in command:
                found.append(pid)
    return found


def _state(pid: int) -> str:
    """A process's state in proc(5): R, S, T for stopped, Z for ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _disk(pid: int) -> int:
    """Bytes on disk of the files in a process's working folder."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/cwd") as entries:
        return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in entries if entry.is_file())
    return 0
