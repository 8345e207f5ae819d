"""A tool host from the worker's side: a process group that serves calls until it is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from tools import frames
from tools.child import TOO_MUCH
from tools.config import ToolsConfig
from tools.describe import LoadedTools
from tools.ending import THREADS, end_tree, remove
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation
from tools.sandbox.limits import leave_group
from tools.serving import Answer
from tools.vitals import Vitals, inner_of

log = logging.getLogger(__name__)
SPARE_FRAME_BYTES = 1024 * 1024
BROKEN = "the tool's process sent an invalid message to the worker"
LONGEST_PROBLEM = 4000
MOST_STRAY_ANSWERS = 16
"""Maximum number of answers that belong to no call and are skipped."""
EXIT_WAIT_S = 0.5
"""Time for a host to exit by itself after closing its pipe; its exit code gives the reason."""


class HostFailed(Exception):
    """A host could not start, or ended or misbehaved during a call; the message says how."""


class _Entered(BaseModel):
    entered: tuple[str, ...]


class _Ready(BaseModel):
    ready: Literal[True]


class _Failed(BaseModel):
    failed: str


M = TypeVar("M", bound=BaseModel)


class HostProcess:
    """A running host, created by `start`. Serves one call at a time."""

    def __init__(self, process: asyncio.subprocess.Process, config: ToolsConfig, scratch: Path) -> None:
        self._process = process
        self._config = config
        self._scratch = scratch
        # A JSON escape takes up to six bytes per byte.
        self._frame_limit = 6 * config.max_result_bytes + SPARE_FRAME_BYTES
        self._printed = asyncio.ensure_future(self._read_printed())
        self._inner: int | None = None
        self._vitals: Vitals | None = None
        self.calls = 0
        self.runs: set[str] = set()
        """Ids of the runs that the host has served."""
        self.tenant: str | None = None
        """The tenant of the host's first call and of all later ones."""
        self.in_force: tuple[str, ...] = ()

    @classmethod
    async def start(
        cls, isolation: Isolation, tools: LoadedTools, config: ToolsConfig, data: Path | None = None
    ) -> HostProcess:
        """Starts a host with loaded tools.

        Args:
            data: the deployment's folder of tool data.

        Raises:
            HostFailed: a source can't be loaded, or the isolation is not available here.
        """
        scratch = make_scratch()
        try:
            confinement = await asyncio.to_thread(confinement_of, isolation, config, scratch, folders_of(tools), data)
            process = await asyncio.create_subprocess_exec(
                *command_of(
                    confinement,
                    config,
                    sources=list(tools.sources),
                    max_result_bytes=config.max_result_bytes,
                    preloaded=list(config.preloaded),
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment_of(config, scratch),
                cwd=scratch,
                start_new_session=True,
            )
        except (SandboxError, OSError) as error:
            await asyncio.to_thread(remove, scratch)
            raise HostFailed(f"the tool can't start: {error}") from None
        except BaseException:
            await asyncio.to_thread(remove, scratch)
            raise
        host = cls(process, config, scratch)
        try:
            async with asyncio.timeout(config.start_timeout_s):
                host.in_force = (await host._receive(_Entered)).entered
                await host._send({"code": dict(tools.code)})
                await host._receive(_Ready)
            host._inner = inner_of(host.pid)
            host._vitals = Vitals.of(host._inner) if host._inner else None
        except TimeoutError:
            await host.kill()
            raise HostFailed(f"the tool host did not start within {config.start_timeout_s:g} s") from None
        except BaseException:
            await host.kill()
            raise
        return host

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def unchanged(self) -> bool:
        """Whether the last call left no processes, no changes to the host, and exactly one answer."""
        assert self._process.stdout is not None
        if self._process.stdout._buffer:  # type: ignore[attr-defined]
            log.warning("replacing tool host %s: it sent more than its answer", self.pid)
            return False
        now = Vitals.of(self._inner) if self._inner else None
        if self._vitals is None or now is None:
            return self.alive and self._vitals is now
        changed = self._vitals.changed(now)
        if changed is not None:
            log.warning("replacing tool host %s: a call changed its %s", self.pid, changed)
        return changed is None

    def pause(self) -> None:
        """Suspends the process that runs tools, with anything that a call left running in it, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._inner is not None and self.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._inner, number)

    async def request(self, message: dict[str, Any]) -> Answer:
        """Sends a call ``{"tool", "arguments", "context"}`` and waits for its answer.

        Raises:
            HostFailed: the host ended, or sent an invalid answer.
        """
        self.calls += 1
        call = token_hex(8)  # distinguishes the answer from output of earlier calls
        await self._send({"call": call, **message})
        for _ in range(MOST_STRAY_ANSWERS):
            answer = await self._receive(Answer)
            if answer.call == call:
                return answer.within(self._config.max_result_bytes)
        raise HostFailed(BROKEN)

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frames.encode(message))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise HostFailed(await self._exit_reason()) from None

    async def kill(self) -> None:
        """Kills all processes of the host. Returns when they are gone and the scratch folder is removed."""
        await asyncio.shield(self._ended())

    async def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(THREADS, end_tree, self.pid)
        self._close_pipes()
        await self._process.wait()
        self._printed.cancel()
        await asyncio.gather(self._printed, return_exceptions=True)
        await loop.run_in_executor(THREADS, remove, self._scratch)
        leave_group(self.pid)

    def _close_pipes(self) -> None:
        """Closes the pipes one by one, since asyncio waits until they end, which a surviving process could delay.

        Closing the whole transport would also reap the process without asyncio's child watcher, which then might not
        find it and report exit code 255.
        """
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.transport.abort()  # the process reads no more input
        for descriptor in (1, 2):
            self._process._transport.get_pipe_transport(descriptor).close()  # type: ignore[attr-defined]

    async def _receive(self, kind: type[M]) -> M:
        """Reads and validates the next frame. Its content isn't trusted, since a tool may write frames too."""
        assert self._process.stdout is not None
        try:
            frame = await frames.receive(self._process.stdout, self._frame_limit)
            if "failed" in frame:
                raise HostFailed(f"the tool can't start: {_Failed.model_validate(frame).failed[:LONGEST_PROBLEM]}")
            return kind.model_validate(frame)
        except frames.FrameError as error:
            raise HostFailed(f"{BROKEN}: {error}") from None
        except ValidationError:
            raise HostFailed(BROKEN) from None
        except EOFError:
            raise HostFailed(await self._exit_reason()) from None

    async def _exit_reason(self) -> str:
        """Waits for the host's exit, kills what is left of it, and returns a sentence about the reason."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WAIT_S):
                await self._process.wait()
        code = self._process.returncode
        await self.kill()
        if code == TOO_MUCH["memory"]:
            return f"the tool was stopped: its processes took more than {_size(self._config.memory_bytes)} of memory"
        if code == TOO_MUCH["scratch"]:
            most = _size(self._config.scratch_bytes)
            return f"the tool was stopped: it wrote more than {most} of temporary files, or too many of them"
        if code == TOO_MUCH["processes"]:
            most = f"{self._config.processes} processes and threads"
            return f"the tool was stopped: it had more than {most}, or too many epoll instances"
        return "the tool's process ended before it answered"

    async def _read_printed(self) -> None:
        """Logs what tools print; the host limits the amount (`tools.child.PRINTED_BYTES`)."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            log.debug("tool host %s printed: %s", self.pid, chunk.decode("utf-8", "replace").rstrip())


def _size(amount: int) -> str:
    return f"{amount / 1024**2:g} MiB"


def folders_of(tools: LoadedTools) -> list[Path]:
    """Folders that tools may read: the project's, and those of the sources that are files."""
    folders = [Path(source).resolve().parent for source in tools.sources if source.endswith(".py")]
    project = tools.project.folder
    return list(dict.fromkeys(folders if project is None else [*folders, project.resolve()]))
