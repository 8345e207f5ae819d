"""Configuration of the tool hosts: one frozen dataclass, made in the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flightloop.errors import ConfigError
from tools.sandbox.confinement import MECHANISMS


@dataclass(frozen=True)
class ToolsConfig:
    """Bounds of the processes that run tools. Sizes are bytes, times seconds."""

    spare: int = 1
    """Idle hosts kept ready for each isolation class, for whichever tenant comes."""
    idle: int = 8
    """Idle hosts of one class that wait for a further call of their tenant; the one that waited longest ends first."""
    max_hosts: int = 8
    """Hosts of one class at work at the same time; further calls wait."""
    max_calls: int = 500
    """Calls that a host serves before a fresh one takes its place."""
    start_timeout_s: float = 60.0
    max_result_bytes: int = 64 * 1024
    """A result beyond it is cut, with a note."""
    memory_bytes: int = 2 * 1024**3
    """Address space of one process."""
    file_bytes: int = 256 * 1024**2
    """Size of one file that a tool writes."""
    open_files: int = 256
    processes: int = 64
    """Processes and threads of one host."""
    scratch_bytes: int = 256 * 1024**2
    """What a call may write into its scratch folder."""
    mechanisms: tuple[str, ...] = MECHANISMS
    """Ways of isolation that may be used, where the system offers them."""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Variables that tools see besides the few that every host gets; nothing else of the worker's is passed on."""
    protected: tuple[Path, ...] = ()
    """Files and folders that no host sees, wherever they lie: the deployment's home."""
    reserved_ports: tuple[int, ...] = ()
    """Ports of this machine that are the platform's; no host connects to them."""
    barred_hosts: tuple[tuple[str, int], ...] = ()
    """Hosts and ports elsewhere that are the platform's, as its database's."""

    def __post_init__(self) -> None:
        for name in ("spare", "idle", "max_hosts", "max_calls", "start_timeout_s", "max_result_bytes", "open_files"):
            if getattr(self, name) < (0 if name in ("spare", "idle") else 1):
                raise ConfigError(f"tools.{name}: must be positive, not {getattr(self, name)}", param=name)
        unknown = set(self.mechanisms) - set(MECHANISMS)
        if unknown:
            known = ", ".join(MECHANISMS)
            raise ConfigError(f"tools.mechanisms: unknown {sorted(unknown)}; known: {known}", param="mechanisms")
