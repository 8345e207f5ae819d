"""How a host's end is known to the process that started it."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import pytest

from tools.builtin.forked import in_words
from tools.config import ToolsConfig
from tools.describe import load_tools
from tools.process import HostProcess
from tools.sandbox.isolation import Isolation

SAMPLE = Path(__file__).parent / "sample_tools.py"


def test_every_end_of_a_program_has_words() -> None:
    told = [in_words(status, True, 1) for status in (0, 256, signal.SIGXCPU, signal.SIGKILL, signal.SIGRTMIN + 6)]
    assert told == ["ok", "error 1", "stopped: too much CPU time", "stopped: SIGKILL", "stopped: signal 40"]


async def test_an_ended_host_is_waited_for_by_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """asyncio's watcher learns how a host ended, however late it comes to wait for it on a busy machine."""
    waitpid = os.waitpid

    def late(pid: int, options: int) -> tuple[int, int]:
        if not options:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            time.sleep(0.3)
        return waitpid(pid, options)

    monkeypatch.setattr(os, "waitpid", late)
    config = ToolsConfig(spare=0)
    tools = load_tools([SAMPLE], config)
    isolation = Isolation.of(tools.registry.get("add"), tmp_path)
    host = await HostProcess.start(isolation, tools, config, tmp_path)
    with caplog.at_level(logging.WARNING, "asyncio"):
        await host.kill()
        await host.kill()  # as where it ended in a call, and is then given back
    assert [record.getMessage() for record in caplog.records] == []
    assert not host.alive
