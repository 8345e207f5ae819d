"""Starts the programs of MCP servers in the sandbox."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mcp import StdioServerParameters

from flightloop.errors import ConfigError
from tools.child import PROGRAM_ENVIRONMENT
from tools.config import ToolsConfig
from tools.ending import THREADS, remove
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.mcp.servers import Server
from tools.sandbox import reading
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation


@dataclass(frozen=True)
class Programs:
    """Starts a project's MCP servers.

    Attributes:
        project: the project's folder, which the servers may read.
        config: configuration of all tools.
    """

    project: Path
    config: ToolsConfig = field(default_factory=ToolsConfig)

    @asynccontextmanager
    async def started_as(self, server: Server) -> AsyncIterator[StdioServerParameters]:
        """Yields the command that starts a server in the sandbox, with a scratch folder as home until the context ends.

        Raises:
            ConfigError: the program doesn't exist, or this system has no sandbox for it.
        """
        found = shutil.which(server.command[0])
        if found is None:
            raise ConfigError(f"program {server.command[0]} not found on the PATH; install it, or give its path")
        scratch = make_scratch()
        try:
            yield await asyncio.to_thread(self._parameters, server, Path(found), scratch)
        except SandboxError as error:
            raise ConfigError(str(error)) from None
        finally:
            THREADS.submit(remove, scratch)

    def _parameters(self, server: Server, program: Path, scratch: Path) -> StdioServerParameters:
        """Command and environment of a server. Raises SandboxError, ConfigError."""
        isolation = Isolation(hosts=server.hosts, folders=server.folders, subprocesses=True)
        installed = [program, *_installed_with(program)]
        confinement = confinement_of(isolation, self.config, scratch, [self.project.resolve()], None, installed)
        command = command_of(confinement, self.config, command=[str(program), *server.command[1:]])
        # The server's variables are for its program, not for the process that sets up the sandbox.
        own = json.dumps(server.filled(server.env))
        environment = {**environment_of(self.config, scratch), PROGRAM_ENVIRONMENT: own}
        return StdioServerParameters(command=command[0], args=command[1:], env=environment, cwd=scratch)


def _installed_with(program: Path) -> list[Path]:
    """The program's real file and, if it is in a ``PREFIX/bin``, what is installed with it in the prefix."""
    real = program.resolve()
    prefix = real.parent.parent
    shared = prefix in (Path("/"), Path.home()) or prefix.parent == Path.home()
    return [real, *reading.installation(prefix)] if real.parent.name == "bin" and not shared else [real]
