"""A disk that is full of runs keeps nobody from a stop."""

from __future__ import annotations

import asyncio
import shutil
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.api import create_app
from agent.config import Settings
from agent.reporting.readiness import readiness
from agent.store import memory_journal, sql_journal
from agent.store.sql.disk_room import LOOK_S, MIB, MOST, NEAR, PORTION, SIZE, Room
from agent.store.sql.urls import files_of
from agent.testing.api import KEY, api_deps
from agent.testing.model_server import ScriptedServer
from flightloop.errors import Overloaded, StoreUnavailable
from flightloop.runs import ProjectInfo
from tests.security.platforms import Standalone, environment, standalone

RUN = {"agent": "support", "input": "hello"}


@dataclass
class Disk:
    """Stands for a file system, and for the time at which it is looked at."""

    total: int = 100_000 * MIB
    free: int = 50_000 * MIB
    now: float = 0.0
    looks: int = 0

    def usage(self, folder: Path) -> Disk:
        self.looks += 1
        return self

    def room(self, least_mb: int | None = None, file: Path = Path("/home/flightloop.db"), keeps: bool = False) -> Room:
        return Room(file, least_mb, keeps=keeps, usage=self.usage, clock=lambda: self.now)

    def becomes(self, free: int) -> None:
        self.free = free
        self.now += LOOK_S


@asynccontextmanager
async def calling(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(api_deps(room=room)))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def test_new_work_leaves_room_on_the_disk() -> None:
    disk = Disk()
    async with calling(disk.room()) as client:
        run = (await client.post("/v1/runs", json=RUN)).json()
        disk.becomes(MOST - 1)
        for path, body in (
            ("", RUN),
            (f"/{run['id']}/fork", {"step": 0}),
            (f"/{run['id']}/feedback", {"score": 5, "resolved": True, "comment": "x" * 2000}),
        ):
            refused = await client.post(f"/v1/runs{path}", json=body)
            assert refused.status_code == 429, path
            assert refused.json()["error"]["code"] == "overloaded"
            assert "FLIGHTLOOP_DISK_RESERVE_MB" in refused.json()["error"]["message"]
        stop = await client.post("/v1/interrupts", json={"scope": "all"})
        assert stop.status_code == 201
        assert (await client.post(f"/v1/runs/{run['id']}/cancel")).status_code == 200
        assert (await client.delete(f"/v1/interrupts/{stop.json()['id']}")).status_code == 200
        disk.becomes(MOST)
        assert (await client.post("/v1/runs", json=RUN)).status_code == 201


def test_the_disk_is_looked_at_once_a_second_and_each_time_when_it_matters() -> None:
    disk = Disk()
    room = disk.room()
    for _ in range(100):
        room.check()
    assert disk.looks == 1
    disk.becomes(MOST + NEAR - 1)
    room.check()
    disk.free = MOST - 1  # a moment later, by large runs
    with pytest.raises(Overloaded):
        room.check()


@pytest.mark.parametrize(
    ("least_mb", "total", "least"),
    [
        (None, 100_000 * MIB, 512 * MIB),
        (None, 1000 * MIB, 50 * MIB),
        (2000, 100_000 * MIB, 2000 * MIB),
        (0, 100_000 * MIB, 0),
    ],
)
def test_the_reserve_is_a_setting(least_mb: int | None, total: int, least: int) -> None:
    assert Settings(disk_reserve_mb=least_mb).disk_reserve_mb == least_mb
    disk = Disk(total, least)
    room = disk.room(least_mb)
    assert room.lacking() is None
    disk.becomes(least - 1)
    assert room.lacking() is not None


def test_without_an_sqlite_file_there_is_no_disk_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: pytest.fail("it was looked at"))
    for url in ("postgresql://host/name", "sqlite://", "sqlite:///:memory:"):
        room = Room.of(url, 10**9, keeps=True)
        room.check()
        assert not room.give(room.held())


async def test_a_disk_that_is_nearly_full_is_not_ready() -> None:
    disk = Disk(free=100 * MIB)
    journal, room = memory_journal(), disk.room()

    def project() -> ProjectInfo:
        return ProjectInfo.model_construct(problem=None)

    [told] = (await readiness(journal, None, project, room)).missing
    assert "disk is nearly full (100 MiB are left" in told
    disk.becomes(MOST)
    assert (await readiness(journal, None, project, room)).missing == []


def test_what_is_kept_for_stops_is_given_up_in_portions(tmp_path: Path) -> None:
    disk, kept = Disk(free=2 * SIZE - 1), tmp_path / "flightloop.db.reserve"
    room = disk.room(0, tmp_path / "flightloop.db", keeps=True)
    assert room.lacking() is None
    assert not kept.exists()  # there is no room for it
    disk.becomes(2 * SIZE)
    room.lacking()
    found = kept.stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE  # taken on the disk, not only named
    assert kept in files_of(f"sqlite:///{tmp_path}/flightloop.db")  # which tools are kept from
    held = room.held()
    assert room.give(held)
    assert room.give(held)  # of several that failed together, one gives
    assert room.held() == SIZE - PORTION
    while held := room.held():
        assert room.give(held)
    assert not kept.exists()
    assert not room.give(0)
    disk.becomes(2 * SIZE)
    room.lacking()
    assert kept.stat().st_size == SIZE


def test_what_is_kept_is_not_written_through_a_link(tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    aim.write_text("precious")
    (tmp_path / "flightloop.db.reserve").symlink_to(aim)
    room = Disk().room(0, tmp_path / "flightloop.db", keeps=True)
    room.lacking()
    room.give(room.held())
    assert aim.read_text() == "precious"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB."""
    folder = tmp_path / "small"
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """To the last byte."""
    with (folder / "filling").open("ab", buffering=0) as file:
        size = MIB
        while size:
            try:
                written = file.write(b"x" * size)
                size = size if written == size else size // 2
            except OSError:
                size //= 2


async def test_a_stop_is_raised_on_a_full_disk(small: Path) -> None:
    url = f"sqlite:///{small}/flightloop.db"
    journal = sql_journal(url, urgent=True, room=Room.of(url, keeps=True))
    other = sql_journal(url)
    for tenant in ("one", "two", "three"):  # what is given up is not enough for the first one alone
        fill(small)
        raised = await asyncio.gather(*(journal.raise_interrupt(tenant, "agent", f"agent {n}") for n in range(20)))
        fill(small)
        await journal.clear_interrupt(tenant, raised[0].id)
        assert len(await other.interrupts(tenant)) == 19
    fill(small)
    with pytest.raises(StoreUnavailable):  # which keeps nothing for that
        await other.raise_interrupt("four", "all", reason="x" * 100_000)
    (small / "filling").unlink()
    await journal.close()
    await other.close()
    again = sql_journal(url, urgent=True, room=Room.of(url, keeps=True))
    assert (small / "flightloop.db.reserve").stat().st_size == SIZE
    await again.close()


async def _post(platform: Standalone, path: str, body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {platform.key}"}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers, timeout=60) as client:
        return await client.post(path, json=body)


@pytest.mark.slow
async def test_a_platform_whose_disk_is_full_is_stopped(small: Path) -> None:
    async with ScriptedServer().serving() as model:
        env = environment(small, FLIGHTLOOP_MODEL_URL=model, FLIGHTLOOP_DISK_RESERVE_MB="4")
        async with standalone(env) as platform:
            home = small / "home"
            assert (home / "flightloop.db.reserve").stat().st_size == SIZE
            large = {"agent": "support", "input": "x" * 900_000}
            statuses = [(await _post(platform, "/v1/runs", large)).status_code for _ in range(3)]
            assert set(statuses) <= {201, 429}
            fill(small)
            await asyncio.sleep(LOOK_S)
            assert (await _post(platform, "/v1/runs", RUN)).status_code == 429
            async with httpx.AsyncClient(base_url=platform.url) as client:
                assert "disk is nearly full" in (await client.get("/readyz")).text
            platform.process.send_signal(signal.SIGUSR1)
            headers = {"authorization": f"Bearer {platform.key}"}
            async with httpx.AsyncClient(base_url=platform.url, headers=headers) as client, asyncio.timeout(60):
                while True:
                    if found := (await client.get("/v1/interrupts")).json()["data"]:
                        break
                    await asyncio.sleep(0.05)
            assert found[0]["created_by"].startswith("SIGUSR1 on ")
            stop = await _post(platform, "/v1/interrupts", {"scope": "all", "reason": "emergency"})
            assert stop.status_code == 201, stop.text
