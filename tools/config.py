"""Configuration of tool hosts, the processes that run tools: a frozen dataclass, created in the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flightloop.errors import ConfigError
from tools.sandbox.confinement import MECHANISMS


@dataclass(frozen=True)
class ToolsConfig:
    """Limits of the processes that run tools. Sizes are in bytes, times in seconds."""

    spare: int = 1
    """Idle hosts per isolation class that are ready for any tenant."""
    idle: int = 8
    """Idle hosts per class that wait for further calls of their tenant; above that, the longest idle one ends."""
    max_hosts: int = 8
    """Busy hosts per class; further calls wait."""
    max_calls: int = 500
    """Calls that a host serves before it is replaced."""
    start_timeout_s: float = 60.0
    max_result_bytes: int = 64 * 1024
    """Longer results are cut, with a note."""
    memory_bytes: int = 2 * 1024**3
    """Address space of one process."""
    file_bytes: int = 256 * 1024**2
    """Size of one file that a tool writes."""
    open_files: int = 256
    processes: int = 64
    """Processes and threads of one host."""
    scratch_bytes: int = 256 * 1024**2
    """Size of a call's scratch folder."""
    mechanisms: tuple[str, ...] = MECHANISMS
    """Isolation mechanisms to use if the system has them."""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Environment variables for tools, besides the few that every host gets; no others of the worker are passed on."""
    preloaded: tuple[str, ...] = ()
    """Modules that a host imports before its first call. A host that has more threads after a call is replaced, and
    some libraries start one as they are imported."""
    protected: tuple[Path, ...] = ()
    """Files and folders that no host may see, such as the deployment's home."""
    reserved_ports: tuple[int, ...] = ()
    """The platform's ports on this machine; no host may connect to them."""
    barred_hosts: tuple[tuple[str, int], ...] = ()
    """The platform's ports on other machines, such as its database's; no host may connect to them."""

    def __post_init__(self) -> None:
        for name in ("spare", "idle", "max_hosts", "max_calls", "start_timeout_s", "max_result_bytes", "open_files"):
            if getattr(self, name) < (0 if name in ("spare", "idle") else 1):
                raise ConfigError(f"tools.{name}: must be positive; it is {getattr(self, name)}", param=name)
        unknown = set(self.mechanisms) - set(MECHANISMS)
        if unknown:
            known = ", ".join(MECHANISMS)
            raise ConfigError(f"tools.mechanisms: unknown {sorted(unknown)}; known: {known}", param="mechanisms")
