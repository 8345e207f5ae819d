"""The home is its user's alone: folder 0700, files 0600, whatever the umask and whoever made it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from agent.api.auth import key_from_file
from agent.config import Settings
from agent.serve import factories
from agent.serve.companion import companion
from agent.serve.home import MADE, open_home
from agent.serve.logs import log_to_file
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop import private
from flightloop.errors import ConfigError
from model.tuner.gate.promotions import PromotedExperts
from observability.trace_file import FileSpanExporter

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-the-environment"


def mark(home: Path) -> None:
    """As one that was made here."""
    home.mkdir(parents=True, exist_ok=True)
    (home / MADE).write_text(str(home.stat().st_ino))
    (home / MADE).chmod(0o600)


@contextmanager
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def wider(home: Path) -> list[str]:
    """What in a home others may touch, links left out. The group of the tools' own data is that of tools, as root."""
    found = []
    for entry in (home, *home.rglob("*")):
        mode = stat.S_IMODE(entry.lstat().st_mode)
        others = stat.S_IRWXO if home / "data" in (entry, *entry.parents) else private.OTHERS
        if mode & others and not entry.is_symlink():
            found.append(f"{entry.relative_to(home)} {mode:o}")
    return found


@pytest.fixture
def unconfigured() -> Iterator[None]:
    """Logging is as it was before."""
    yield
    structlog.reset_defaults()


@pytest.mark.slow
async def test_a_platform_leaves_nothing_open(tmp_path: Path) -> None:
    """Started with the widest umask, and a key that no file holds; it works on a run, and stops."""
    home = tmp_path / "state" / "home"
    scripted = ScriptedServer(
        ScriptedAnswer(text=json.dumps({"goal": "answer", "tools": []})), ScriptedAnswer(text="It is on its way.")
    )
    async with scripted.serving() as url:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLOOP_")}
        roots = os.pathsep.join([str(ROOT), str(ROOT / "sdk")])
        own = {"FLIGHTLOOP_HOME": str(home), "FLIGHTLOOP_MODEL_URL": url, "FLIGHTLOOP_API_KEY": KEY}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", "serve", "--port", "0", cwd=ROOT,
            env={**kept, **own, "PYTHONPATH": roots}, stdout=asyncio.subprocess.PIPE, umask=0,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            base = (await process.stdout.readline()).decode().split()[3].rstrip(";")
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
                run = (await client.post("/v1/runs", json={"agent": "support", "input": "Where is it?"})).json()
                await client.get(f"/v1/runs/{run['id']}/events")  # ends with the run
                assert {"flightloop.db", "flightloop.db-wal", "flightloop.db-shm"} <= set(os.listdir(home))
                assert wider(home) == []
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert wider(home) == []
    assert (home / "data" / "shop.db").is_file()
    assert list((home / "traces").iterdir())


async def test_each_writer_keeps_its_files_to_itself(tmp_path: Path, unconfigured: None) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home)
    with open_umask():
        open_home(home)
        key_from_file(home / "key")
        journal = factories.open_journal(settings)
        factories.seed_data(settings)
        await journal.close()
        if (file := log_to_file(settings, "api")) is not None:
            file.close()
        traces = FileSpanExporter(home / "traces", "api", 1000, 1)
        traces.shutdown()
        experts = tmp_path / "experts.safetensors"
        for weights in (b"first", b"second"):
            experts.write_bytes(weights)
            PromotedExperts(home / "experts.safetensors").promote(experts, sha256(weights).hexdigest(), "better")
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        program = (
            f"import os; os.makedirs({str(home / 'prometheus' / 'data')!r}); open({str(home / 'new')!r}, 'w').close();"
            f" open({str(ready)!r}, 'w').close()"
        )
        with companion([sys.executable, "-c", program], home / "logs" / "prometheus.log", {}):
            await asyncio.to_thread(ready.read_text)  # returns once the program is through
    assert wider(home) == []
    assert (home / "logs" / "flightloop.log").is_file()
    assert list((home / "experts.replaced").iterdir())


def test_a_home_that_is_wider_is_tightened_and_the_log_says_so(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    with open_umask():
        (home / "logs").mkdir(parents=True)
        mark(home)
        (home / "data").mkdir()
        for file in ("flightloop.db", "flightloop.db-wal", "logs/api.log", "data/of-a-tool"):
            (home / file).write_text("x")
        (home / "run.sh").write_text("x")
        (home / "run.sh").chmod(0o755)
        outside.write_text("not ours to change")
        (home / "link").symlink_to(outside)
    with capture_logs() as told:
        open_home(home)
        open_home(home)
    assert [(line["log_level"], line["home"], line["changed"]) for line in told] == [("warning", str(home), 8)]
    assert wider(home) == []
    assert stat.S_IMODE((home / "run.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666


def test_a_key_that_others_could_read_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    """As one that comes with a project: whoever made it knows it."""
    mark(tmp_path / "home")
    (tmp_path / "home" / "key").write_text("fl_known_to_its_author")
    (tmp_path / "home" / "key").chmod(0o644)
    with pytest.raises(ConfigError, match="delete it to get a new one"):
        open_home(tmp_path / "home")
    (tmp_path / "home" / "key").chmod(0o600)
    open_home(tmp_path / "home")


def packed(tmp_path: Path, how: str) -> Path:
    """A home of somebody else, as it comes out of an archive."""
    theirs = tmp_path / "theirs" / ".flightloop"
    open_home(theirs)
    if how == "key":
        (theirs / "key").write_text("fl_known_to_its_author")
        (theirs / "key").chmod(0o600)
    elif how == "journal":
        (theirs / "flightloop.db").write_bytes(b"SQLite format 3\0")
    elif how == "data":
        (theirs / "data").rmdir()
        (theirs / "data").symlink_to("../../../.ssh")
    elif how == "log":
        (theirs / "flightloop.log").symlink_to("../../../.bashrc")
    else:
        (theirs / how).symlink_to("../../victim")
    archive = tmp_path / "project.tar"
    with tarfile.open(archive, "w") as file:
        file.add(theirs, ".flightloop")
    (tmp_path / "mine").mkdir()
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "mine", filter="fully_trusted")
    return tmp_path / "mine" / ".flightloop"


@pytest.mark.parametrize("how", ["key", "journal", "data", "traces", "log"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_home_that_came_with_a_project_is_not_taken(tmp_path: Path, how: str, marked: bool) -> None:
    home = packed(tmp_path, how)
    if not marked:
        (home / MADE).unlink()
    with pytest.raises(ConfigError, match="was not created here"):
        open_home(home)


def test_whoever_moves_a_home_says_that_it_is_his(tmp_path: Path) -> None:
    home = packed(tmp_path, "key")
    with pytest.raises(ConfigError) as raised:
        open_home(home)
    subprocess.run(str(raised.value).split("run: ")[1], shell=True, check=True)
    open_home(home)


def test_a_volume_that_nobody_has_used_is_a_new_home(tmp_path: Path) -> None:
    (tmp_path / "home" / "lost+found").mkdir(parents=True)
    (tmp_path / "home" / "platform.log").write_text("starting")
    for _ in range(2):
        open_home(tmp_path / "home")


def test_no_file_of_the_home_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (tmp_path / "flightloop.log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"), open(tmp_path / "flightloop.log", "a", opener=private.opener):
        pass
    assert victim.read_text() == "as it was"


def test_a_home_that_is_a_link_is_tightened_too(tmp_path: Path) -> None:
    home = tmp_path / "link"
    (tmp_path / "there" / "logs").mkdir(parents=True, mode=0o755)
    (tmp_path / "there" / "logs" / "api.log").write_text("x")
    mark(tmp_path / "there")
    (tmp_path / "there").chmod(0o755)
    home.symlink_to(tmp_path / "there")
    open_home(home)
    assert wider(tmp_path / "there") == []


def test_a_home_of_somebody_else_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with pytest.raises(ConfigError, match=r"FLIGHTLOOP_HOME: .* belongs to user .*chown -R") as raised:
        open_home(home, user=os.geteuid() + 1)
    assert str(home) in str(raised.value)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755  # nothing was touched
    assert list(home.iterdir()) == []


def test_a_home_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="FLIGHTLOOP_HOME"):
        open_home(tmp_path / "file" / "home")
