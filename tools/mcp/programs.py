"""Starts the programs of MCP servers in the sandbox."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    """How a project's MCP servers are started.

    Attributes:
        project: its folder, which they may read.
        config: of all tools.
    """

    project: Path
    config: ToolsConfig = field(default_factory=ToolsConfig)

    @contextmanager
    def started_as(self, server: Server) -> Iterator[StdioServerParameters]:
        """The command that starts a server in the sandbox, with a scratch folder as its home for that long.

        Raises:
            ConfigError: there is no such program, or this system has no sandbox for it.
        """
        program, *arguments = server.command
        found = shutil.which(program)
        if found is None:
            raise ConfigError(f"there is no program {program} on the path")
        scratch = make_scratch()
        isolation = Isolation(hosts=server.hosts, folders=server.folders, subprocesses=True)
        readable, programs = [self.project.resolve()], [Path(found), *_installed_with(Path(found))]
        try:
            confinement = confinement_of(isolation, self.config, scratch, readable, None, programs)
            command = command_of(confinement, self.config, command=[found, *arguments])
            # The server's own variables are for its program, not for the process that makes the sandbox.
            own = json.dumps(server.filled(server.env))
            environment = {**environment_of(self.config, scratch), PROGRAM_ENVIRONMENT: own}
            yield StdioServerParameters(command=command[0], args=command[1:], env=environment, cwd=scratch)
        except SandboxError as error:
            raise ConfigError(str(error)) from None
        finally:
            THREADS.submit(remove, scratch)


def _installed_with(program: Path) -> list[Path]:
    """The program's real file and, where it lies in some ``PREFIX/bin``, what is installed with it in the prefix."""
    real = program.resolve()
    prefix = real.parent.parent
    shared = prefix in (Path("/"), Path.home()) or prefix.parent == Path.home()
    return [real, *reading.installation(prefix)] if real.parent.name == "bin" and not shared else [real]
