"""One tool host as the worker sees it: a group of processes that serves calls until it is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tools import frames
from tools.child import TOO_MUCH
from tools.config import ToolsConfig
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation
from tools.sandbox.limits import leave_group
from tools.vitals import Vitals, inner_of

log = logging.getLogger(__name__)
SPARE_FRAME_BYTES = 1024 * 1024
EPITAPH_S = 0.5
"""How long a host whose line has ended may take to end by itself, and so tell why."""


class HostFailed(Exception):
    """A host could not start, or ended or misbehaved in the middle of a call; the message says how."""


class HostProcess:
    """A running host; made by `start`. Serves one call at a time."""

    def __init__(self, process: asyncio.subprocess.Process, config: ToolsConfig, scratch: Path) -> None:
        self._process = process
        self._config = config
        self._scratch = scratch
        # JSON escapes can make six bytes of one.
        self._frame_limit = 6 * config.max_result_bytes + SPARE_FRAME_BYTES
        self._printed = asyncio.ensure_future(self._read_printed())
        self._inner: int | None = None
        self._vitals: Vitals | None = None
        self.calls = 0
        self.tenant: str | None = None
        """Whose calls it serves, from its first one on."""
        self.in_force: tuple[str, ...] = ()

    @classmethod
    async def start(
        cls, isolation: Isolation, sources: Sequence[str], config: ToolsConfig, data: Path | None = None
    ) -> HostProcess:
        """Starts a host with the sources loaded.

        Args:
            data: the deployment's folder of tool data.

        Raises:
            HostFailed: a source can't be loaded, or the isolation isn't to be had here.
        """
        scratch = make_scratch()
        try:
            confinement = await asyncio.to_thread(confinement_of, isolation, config, scratch, folders_of(sources), data)
        except (SandboxError, OSError) as error:
            shutil.rmtree(scratch, ignore_errors=True)
            raise HostFailed(f"the tool can't start: {error}") from None
        process = await asyncio.create_subprocess_exec(
            *command_of(confinement, config, sources=list(sources), max_result_bytes=config.max_result_bytes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment_of(config, scratch),
            cwd=scratch,
            start_new_session=True,
        )
        host = cls(process, config, scratch)
        try:
            async with asyncio.timeout(config.start_timeout_s):
                hello = await host._receive()
        except TimeoutError:
            await host.kill()
            raise HostFailed(f"the tool host did not start within {config.start_timeout_s:g} s") from None
        except BaseException:
            await host.kill()
            raise
        if "failed" in hello:
            await host.kill()
            raise HostFailed(f"the tool can't start: {hello['failed']}")
        host.in_force = tuple(hello["ready"])
        host._inner = inner_of(host.pid)
        host._vitals = Vitals.of(host._inner) if host._inner else None
        return host

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def unchanged(self) -> bool:
        """Whether the last call left the host's limits, identity and scheduling as they were."""
        now = Vitals.of(self._inner) if self._inner else None
        if self._vitals is None or now is None:
            return self.alive and self._vitals is now
        changed = self._vitals.changed(now)
        if changed is not None:
            log.warning("tool host %s is replaced: a call changed its %s", self.pid, changed)
        return changed is None

    async def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a call and waits for its answer.

        Raises:
            HostFailed: the host ended, or answered what is no answer.
        """
        self.calls += 1
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frames.encode(message))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise HostFailed(await self._epitaph()) from None
        return await self._receive()

    async def kill(self) -> None:
        """SIGKILL to the whole group, and to what left it; returns when the host is gone and its scratch removed."""
        for pid in self._outside_the_group():
            _kill(pid)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.shield(self._ended())

    async def _ended(self) -> None:
        await self._process.wait()
        self._printed.cancel()
        await asyncio.gather(self._printed, return_exceptions=True)
        # asyncio closes the pipes only once their ends are reached, which a stray grandchild could put off for ever.
        self._process._transport.close()  # type: ignore[attr-defined]
        shutil.rmtree(self._scratch, ignore_errors=True)
        leave_group(self.pid)

    def _outside_the_group(self) -> list[int]:
        """Descendants that made a session of their own; a PID namespace takes them along, so there is no need then."""
        if "namespaces" in self.in_force:
            return []
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    async def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            return await frames.receive(self._process.stdout, self._frame_limit)
        except frames.FrameError as error:
            raise HostFailed(f"the tool's process broke its line to the worker: {error}") from None
        except EOFError:
            raise HostFailed(await self._epitaph()) from None

    async def _epitaph(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(EPITAPH_S):
                await self._process.wait()
        code = self._process.returncode
        await self.kill()
        if code == TOO_MUCH["memory"]:
            return f"the tool was stopped: its processes took more than {_size(self._config.memory_bytes)} of memory"
        if code == TOO_MUCH["scratch"]:
            return f"the tool was stopped: it wrote more than {_size(self._config.scratch_bytes)} of temporary files"
        return "the tool's process ended before it answered"

    async def _read_printed(self) -> None:
        """What tools print goes to the log; the host cuts it (`tools.child.PRINTED_BYTES`)."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            log.debug("tool host %s printed: %s", self.pid, chunk.decode("utf-8", "replace").rstrip())


def _size(amount: int) -> str:
    return f"{amount / 1024**2:g} MiB"


def folders_of(sources: Sequence[str]) -> list[Path]:
    """The folders of the sources that are files: a project's tools may read what lies beside them."""
    return [Path(source).resolve().parent for source in sources if source.endswith(".py")]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
