"""Isolation classes: the rights of tools' processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flightloop.tool import POLICY_EGRESS, Permission, ToolSpec


@dataclass(frozen=True, order=True)
class Isolation:
    """Rights of a tool host. Calls with the same rights share hosts.

    Attributes:
        hosts: hosts that it may connect to (`endpoints`); empty: no network.
        folders: folders that it may read and write besides its scratch folder.
        subprocesses: whether it may start programs.
    """

    hosts: tuple[str, ...]
    folders: tuple[str, ...]
    subprocesses: bool

    @classmethod
    def of(cls, spec: ToolSpec, data: Path | None, egress: Sequence[str] = ()) -> Isolation:
        """Rights of a call.

        Args:
            spec: spec of the tool.
            data: the deployment's folder of tool data, which every tool may use.
            egress: hosts that the agent's policy allows.
        """
        hosts: list[str] = []
        if Permission.NETWORK in spec.permissions:
            for entry in spec.hosts:
                hosts += egress if entry == POLICY_EGRESS else [entry]
        folders = [*spec.folders] if Permission.FILES in spec.permissions else []
        if data is not None:
            folders.append(str(data.resolve()))
        return cls(tuple(sorted(set(hosts))), tuple(sorted(set(folders))), Permission.SUBPROCESS in spec.permissions)

    @property
    def network(self) -> bool:
        return bool(self.hosts)

    def __str__(self) -> str:
        hosts = ", ".join(self.hosts) or "none"
        return f"hosts: {hosts}; programs: {'yes' if self.subprocesses else 'no'}; folders: {', '.join(self.folders)}"
