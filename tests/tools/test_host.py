"""Tool hosts with real processes; the misbehaving tools are in `sample_tools.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from flightloop.errors import ConfigError, NotFound
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.host import LONGEST_PAUSE_S, ToolHosts, backoff
from tools.tracebacks import MOST_CHARACTERS

SAMPLE = Path(__file__).parent / "sample_tools.py"
CLOSED = os.geteuid() == 0 and any(not folder.stat().st_mode & 1 for folder in Path(sys.base_prefix).resolve().parents)
MECHANISMS = [
    ("namespaces", "landlock", "seccomp", "cgroup"),
    ("namespaces", "seccomp"),
    pytest.param(
        ("landlock", "seccomp"),
        marks=pytest.mark.skipif(CLOSED, reason="Python lies in root's home, where other users can't run it"),
    ),
]
CONFIG = ToolsConfig(spare=0, max_hosts=3, max_result_bytes=2000)


def context(data: Path, run_id: str = "run", egress: tuple[str, ...] = ("api.example",)) -> ToolContext:
    return ToolContext("run:0:0", "default", "support", "session", run_id, data, egress)


@pytest.fixture
async def hosts() -> AsyncIterator[ToolHosts]:
    async with ToolHosts([SAMPLE], CONFIG) as made:
        yield made


def below() -> set[int]:
    """Processes that descend from this one, and any that carry a mark of this test."""
    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if mark in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def there(path: str) -> bool:
    return os.path.exists(path)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what happens outside this process sets no event)
            await asyncio.sleep(0.01)


async def test_plain_async_and_typed_tools_answer(hosts: ToolHosts, tmp_path: Path) -> None:
    told = context(tmp_path)
    assert (await hosts.call("add", {"a": 1, "b": 4}, told)).content == 5
    assert (await hosts.call("add", {"a": 1}, told)).content == 2
    assert (await hosts.call("add_later", {"a": 1, "b": 4}, told)).content == 5
    assert (await hosts.call("weekday", {"day": "2026-03-01"}, told)).content == "Sunday"
    assert (await hosts.call("threads", {}, told)).content == 4
    who = await hosts.call("who", {}, told)
    assert who.content == {"key": "run:0:0", "run": "run", "data": str(tmp_path), "egress": ["api.example"]}


async def test_what_a_tool_raises_is_an_outcome(hosts: ToolHosts, tmp_path: Path) -> None:
    told = context(tmp_path)
    assert (await hosts.call("refuse", {}, told)).error == "Order 7 was shipped already."
    assert (await hosts.call("fail", {}, told)).error == "RuntimeError: the disk is on fire"
    assert (await hosts.call("leave", {}, told)).error == "SystemExit: 3"
    wrong = await hosts.call("add", {"a": "x"}, told)
    assert not wrong.ok
    assert str(wrong.error).startswith("a: Input should be a valid integer")
    gobbled = await hosts.call("gobble", {}, told)
    assert str(gobbled.error).startswith("MemoryError")


async def test_only_a_refusal_says_that_nothing_was_done(hosts: ToolHosts, tmp_path: Path) -> None:
    failing = [(name, {}) for name in ("fail", "leave", "wait_elsewhere", "try_once")]
    calls = (*failing, ("refuse", {}), ("add", {"a": "x"}), ("add", {"a": 1}))
    outcomes = [await hosts.call(name, given, context(tmp_path)) for name, given in calls]
    assert [outcome.uncertain for outcome in outcomes] == [True] * 4 + [False] * 3


async def test_where_a_tool_raised_is_told_without_the_platform(hosts: ToolHosts, tmp_path: Path) -> None:
    told = context(tmp_path)
    assert (await hosts.call("refuse", {}, told)).traceback is None
    assert (await hosts.call("add", {"a": "x"}, told)).traceback is None
    assert (await hosts.call("add", {"a": 1}, told)).traceback is None
    failed = str((await hosts.call("fail", {}, told)).traceback).splitlines()
    assert failed[0].startswith(f'  File "{SAMPLE}", line ')
    assert failed[1:] == ['    raise RuntimeError("the disk is on fire")', "RuntimeError: the disk is on fire"]
    caused = str((await hosts.call("fail_below", {"depth": 2}, told)).traceback).splitlines()
    assert [line for line in caused if not line.startswith(" ")] == [
        "ValueError: invalid literal for int() with base 10: 'seven'",
        "which caused:",
        "LookupError: no \ufffd[31mluck today",
    ]
    assert not any("serving.py" in line or "runners.py" in line for line in caused)
    together = str((await hosts.call("fail_together", {}, told)).traceback).splitlines()
    assert [line for line in together if not line.startswith(" ")] == [
        "ExceptionGroup: both (2 sub-exceptions)",
        "with:",
        "ValueError: left",
        "with:",
        "KeyError: 'right'",
    ]
    assert str((await hosts.call("fail_without_words", {}, told)).traceback).endswith("\nMute")
    long = str((await hosts.call("fail_at_length", {}, told)).traceback)
    assert len(long) <= MOST_CHARACTERS
    assert {line.split(" ")[0] for line in long.splitlines()} == {"", "ValueError:", "which"}
    deep = str((await hosts.call("fail_below", {"depth": 100_000}, told)).traceback)
    assert "RecursionError: maximum recursion depth exceeded" in deep
    assert len(deep.splitlines()) < 60


@pytest.mark.parametrize("by", ["raise", "die"])
async def test_a_failed_call_is_tried_again_with_its_key(hosts: ToolHosts, tmp_path: Path, by: str) -> None:
    outcome = await hosts.call("flaky", {"failures": 2, "by": by}, context(tmp_path))
    assert (outcome.ok, outcome.content, outcome.tries, outcome.traceback) == (True, 3, 3, None)
    assert os.listdir(tmp_path) == ["run:0:0.calls"]


async def test_retries_have_an_end(hosts: ToolHosts, tmp_path: Path) -> None:
    outcome = await hosts.call("flaky", {"failures": 99}, context(tmp_path))
    assert (outcome.ok, outcome.error, outcome.tries) == (False, "ConnectionError: failure 4", 4)
    assert str(outcome.traceback).endswith("ConnectionError: failure 4")


async def test_retries_end_with_the_calls_time(hosts: ToolHosts, tmp_path: Path) -> None:
    outcome = await hosts.call("flaky_briefly", {}, context(tmp_path))
    assert not outcome.ok
    assert 1 < outcome.tries < 6  # of eleven
    assert outcome.seconds < 5
    hung = await hosts.call("hang_with_retries", {}, replace(context(tmp_path), key="hung"))
    assert (hung.timed_out, hung.tries, hung.uncertain) == (True, 1, True)


async def test_a_refusal_and_wrong_arguments_are_not_tried_again(hosts: ToolHosts, tmp_path: Path) -> None:
    outcome = await hosts.call("flaky", {"failures": 1, "by": "refuse"}, context(tmp_path))
    assert (outcome.ok, outcome.error, outcome.tries) == (False, "not now", 1)
    assert (await hosts.call("flaky", {"failures": "x"}, context(tmp_path))).tries == 1


async def test_a_stopped_run_is_not_tried_again(hosts: ToolHosts, tmp_path: Path) -> None:
    call = asyncio.create_task(hosts.call("flaky", {"failures": 99}, context(tmp_path)))
    await until((tmp_path / "run:0:0.calls").exists)
    await hosts.kill("run")
    stopped = await call
    assert (stopped.killed, stopped.uncertain) == (True, True)
    made = (tmp_path / "run:0:0.calls").read_text()
    await hosts.call("add", {"a": 1}, context(tmp_path))
    assert (tmp_path / "run:0:0.calls").read_text() == made


def test_pauses_double_and_have_an_end() -> None:
    for tries, longest in ((1, 0.2), (2, 0.4), (5, 3.2), (99, LONGEST_PAUSE_S)):
        assert longest / 2 <= backoff(tries) <= longest


async def test_hosts_go_on_with_the_code_that_was_good(tmp_path: Path) -> None:
    (folder := tmp_path / "project").mkdir()
    (data := tmp_path / "data").mkdir()
    good = (
        "# -*- coding: latin-1 -*-\nfrom flightloop.tool import tool\n\n\n@tool(effect='pure')\ndef where() -> str:\n"
        "    'Caf\xe9.'\n    return __file__\n\n\n@tool(effect='pure')\ndef fail() -> None:\n    'Fails.'\n"
        "    raise LookupError('caf\xe9')\n"
    )
    (folder / "tools.py").write_bytes(good.encode("latin-1"))
    async with ToolHosts([folder / "tools.py"], CONFIG) as hosts:
        (folder / "tools.py").write_text("broken(\n" * 20)  # before any host has started
        assert (await hosts.call("where", {}, context(data))).content == str(folder / "tools.py")
        failed = await hosts.call("fail", {}, context(data))
        assert "    raise LookupError('caf\xe9')\nLookupError: caf\xe9" in str(failed.traceback)
    with pytest.raises(ConfigError, match=r"tools\.py:20 can't be loaded: SyntaxError"):
        ToolHosts([folder / "tools.py"], CONFIG)


async def test_results_that_are_no_json_become_text_and_long_ones_are_cut(hosts: ToolHosts, tmp_path: Path) -> None:
    told = context(tmp_path)
    odd = await hosts.call("not_json", {}, told)
    assert (odd.ok, odd.content) == (True, "{1, 2}")
    assert "not JSON but set" in str(odd.note)
    assert (await hosts.call("not_a_number", {}, told)).content == "nan"
    long = await hosts.call("repeat", {"text": "é", "times": 5000}, told)
    assert long.content == "é" * 1000
    assert "10002 bytes, 2000 are shown" in str(long.note)
    listed = await hosts.call("numbers", {"count": 5000}, told)
    assert listed.content.startswith("[0, 1, 2,")
    assert len(listed.content) == 2000


async def test_printing_100_megabytes_breaks_nothing(hosts: ToolHosts, tmp_path: Path) -> None:
    own = psutil.Process()
    before = own.memory_info().rss
    assert (await hosts.call("shout", {"megabytes": 100}, context(tmp_path))).content == "done"
    assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2
    assert own.memory_info().rss - before < 50 * 1024**2


async def test_a_host_that_is_killed_fails_its_call_only(hosts: ToolHosts, tmp_path: Path) -> None:
    call = asyncio.create_task(hosts.call("hang", {}, context(tmp_path)))
    await until((tmp_path / "run.began").exists)
    for pid in below():
        os.kill(pid, signal.SIGKILL)
    outcome = await call
    assert (outcome.ok, outcome.error) == (False, "the tool's process ended before it answered")
    died = await hosts.call("die", {}, context(tmp_path))
    assert (died.ok, died.error) == (False, "the tool's process ended before it answered")
    assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2


async def test_bytes_in_the_pipe_that_are_no_frame_end_the_host(hosts: ToolHosts, tmp_path: Path) -> None:
    forged = await hosts.call("forge", {}, context(tmp_path))
    assert "sent an invalid message" in str(forged.error)
    assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2


async def test_a_timeout_ends_the_call_and_the_next_one_works(hosts: ToolHosts, tmp_path: Path) -> None:
    outcome = await hosts.call("hang_briefly", {}, context(tmp_path))
    assert outcome.timed_out
    assert outcome.error == "hang_briefly took longer than 0.5 s and was stopped"
    assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2


@pytest.mark.parametrize("mechanisms", MECHANISMS)
@pytest.mark.parametrize("sessions", [False, True])
async def test_a_timeout_takes_grandchildren_along(mechanisms: tuple[str, ...], sessions: bool, tmp_path: Path) -> None:
    mark = f"mark-{uuid4().hex}"
    async with ToolHosts([SAMPLE], ToolsConfig(spare=0, mechanisms=mechanisms)) as hosts:
        call = asyncio.create_task(
            hosts.call("leave_children", {"count": 3, "sessions": sessions, "wait": True}, context(tmp_path, mark))
        )
        await until(lambda: len(marked(mark)) == 3)
        assert (await call).timed_out
        await until(lambda: not marked(mark))


async def test_what_a_call_leaves_running_ends_with_it(hosts: ToolHosts, tmp_path: Path) -> None:
    mark = f"mark-{uuid4().hex}"
    arguments = {"count": 3, "sessions": True, "wait": False}
    assert (await hosts.call("leave_children", arguments, context(tmp_path, mark))).content == 3
    await until(lambda: not marked(mark))


async def test_a_cancelled_call_kills_its_processes(hosts: ToolHosts, tmp_path: Path) -> None:
    before = below()
    call = asyncio.create_task(hosts.call("hang", {}, context(tmp_path)))
    await until((tmp_path / "run.began").exists)
    assert below() - before
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: not below() - before)


async def test_kill_ends_one_runs_calls(hosts: ToolHosts, tmp_path: Path) -> None:
    stopped = [asyncio.create_task(hosts.call("hang", {}, context(tmp_path, "one"))) for _ in range(2)]
    other = asyncio.create_task(hosts.call("hang", {}, context(tmp_path, "two")))
    await until(lambda: (tmp_path / "one.began").exists() and (tmp_path / "two.began").exists())
    assert await hosts.kill("one") == 2
    outcomes = await asyncio.gather(*stopped)
    assert [(outcome.ok, outcome.killed, outcome.error) for outcome in outcomes] == [
        (False, True, "the call was stopped")
    ] * 2
    assert not other.done()
    assert await hosts.kill("one") == 0
    assert await hosts.kill("two") == 1
    assert (await other).killed
    assert (await hosts.call("add", {"a": 1}, context(tmp_path, "one"))).content == 2


async def test_calls_that_wait_for_a_host_can_be_killed(tmp_path: Path) -> None:
    async with ToolHosts([SAMPLE], ToolsConfig(spare=0, max_hosts=1)) as hosts:
        first = asyncio.create_task(hosts.call("hang", {}, context(tmp_path, "one")))
        await until((tmp_path / "one.began").exists)
        second = asyncio.create_task(hosts.call("add", {"a": 1}, context(tmp_path, "two")))
        await asyncio.sleep(0)
        assert await hosts.kill("two") == 1
        assert (await second).killed
        assert await hosts.kill("one") == 1
        await first
        assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2


async def test_many_calls_at_once_are_answered_each_with_its_own_result(hosts: ToolHosts, tmp_path: Path) -> None:
    calls = [hosts.call("add", {"a": number, "b": 0}, context(tmp_path)) for number in range(40)]
    assert [outcome.content for outcome in await asyncio.gather(*calls)] == list(range(40))


async def test_hosts_are_replaced_after_their_share_of_calls(tmp_path: Path) -> None:
    async with ToolHosts([SAMPLE], ToolsConfig(spare=1, max_hosts=1, max_calls=2)) as hosts:
        for _ in range(5):
            assert (await hosts.call("add", {"a": 1}, context(tmp_path))).content == 2


@pytest.mark.parametrize("mechanisms", MECHANISMS)
@pytest.mark.parametrize("family", ["inet", "inet6"])
async def test_without_the_permission_there_is_no_network(
    mechanisms: tuple[str, ...], family: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with ToolHosts([SAMPLE], ToolsConfig(spare=0, mechanisms=mechanisms)) as hosts:
            denied = await hosts.call("connect", {"port": port, "family": family}, context(tmp_path))
            assert not denied.ok
            assert str(denied.error).startswith(("PermissionError", "OSError: [Errno 101]", "OSError: [Errno 99]"))
            allowed = context(tmp_path, egress=(f"127.0.0.1:{port}",))
            assert (await hosts.call("connect_allowed", {"port": port}, allowed)).content == "connected"


@pytest.mark.parametrize("mechanisms", [(), ("namespaces", "landlock"), ("seccomp", "cgroup")])
async def test_where_no_isolation_works_tools_do_not_start(mechanisms: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this system can't isolate tools from the platform's"):
        ToolHosts([SAMPLE], ToolsConfig(mechanisms=mechanisms))
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0, mechanisms=mechanisms)) as hosts:
        refused = await hosts.call("calculator", {"expression": "1+1"}, context(tmp_path))
        assert not refused.ok
        assert "can't isolate tools from the platform's" in str(refused.error)


async def test_programs_and_forks_need_a_permission(hosts: ToolHosts, tmp_path: Path) -> None:
    assert str((await hosts.call("start_program", {}, context(tmp_path))).error).startswith("PermissionError")
    assert str((await hosts.call("fork_bomb", {}, context(tmp_path))).error).startswith("PermissionError")


async def test_the_workers_environment_stays_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", "secret")
    async with ToolHosts([SAMPLE], ToolsConfig(spare=0, environment={"SHOP": "x"})) as hosts:
        seen = (await hosts.call("environment", {}, context(tmp_path))).content
    assert seen["SHOP"] == "x"
    assert "FLIGHTLOOP_API_KEY" not in seen


async def test_closing_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    before = below()
    hosts = ToolHosts([SAMPLE], ToolsConfig(spare=1))
    async with hosts:
        home = (await hosts.call("environment", {}, context(tmp_path))).content["HOME"]
        assert there(home)
        call = asyncio.create_task(hosts.call("hang", {}, context(tmp_path)))
        await until((tmp_path / "run.began").exists)
    assert (await call).killed
    await until(lambda: not below() - before)
    assert not there(home)


WORKER = """
import asyncio, sys
from pathlib import Path
from flightloop.tool import ToolContext
from tools.host import ToolHosts

async def work(mark):
    told = ToolContext("k", "t", "a", "s", mark, Path(sys.argv[2]))
    async with ToolHosts([sys.argv[1]]) as hosts:
        await hosts.call("leave_children", {"count": 2, "sessions": True, "wait": True}, told)

asyncio.run(work(sys.argv[3]))
"""


async def test_hosts_die_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    mark = f"mark-{uuid4().hex}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    data = tmp_path / "data"
    data.mkdir()
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(SAMPLE), str(data), mark, env=environment
    )
    await until(lambda: len(marked(mark)) >= 3)  # the worker itself and the two programs
    hosts = [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
    assert len(hosts) > 3
    worker.kill()
    await worker.wait()
    await until(lambda: not marked(mark) and not any(map(psutil.pid_exists, hosts)))


async def test_unknown_tools_and_bad_configuration_are_told(hosts: ToolHosts, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="known tools: add"):
        await hosts.call("fly", {}, context(tmp_path))
    with pytest.raises(ConfigError, match="max_hosts"):
        ToolsConfig(max_hosts=0)
    with pytest.raises(ConfigError, match="mechanisms"):
        ToolsConfig(mechanisms=("prayer",))
