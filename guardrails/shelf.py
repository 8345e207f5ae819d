"""A folder of policies, swapped whole: either every file is good, or the last good set stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from flightloop.errors import ConfigError, NotFound
from guardrails.policy import Policy, default_policy, load_policy


@dataclass(frozen=True)
class PolicySet:
    """One consistent set of policies by name. Always holds ``default``."""

    policies: Mapping[str, Policy]
    loaded_at: datetime

    def get(self, name: str | None) -> Policy:
        """The policy of that name; the default one for None.

        Raises:
            NotFound: there is no such policy; names those that are.
        """
        try:
            return self.policies[name or "default"]
        except KeyError:
            raise NotFound(f"no policy {name!r}; there are: {', '.join(sorted(self.policies))}") from None


@dataclass
class PolicyShelf:
    """Holds the last good set of a folder's policies.

    A reader takes ``current`` once and keeps it: a reload replaces the reference, never the set.
    """

    folder: Path | None
    current: PolicySet
    error: str | None = field(default=None)
    """Why the last reload was refused; None after a good one."""

    @classmethod
    def load(cls, folder: Path | None) -> PolicyShelf:
        """Reads every ``*.yaml`` of the folder; a folder that doesn't exist holds none.

        Raises:
            ConfigError: a file is not a policy, or two share a name.
        """
        return cls(folder, _read(folder))

    def get(self, name: str | None) -> Policy:
        return self.current.get(name)

    def reload(self) -> bool:
        """Reads the folder again. On any error the old set stays and ``error`` says why."""
        try:
            fresh = _read(self.folder)
        except ConfigError as problem:
            self.error = problem.message
            return False
        self.error = None
        changed = {name: policy.sha256 for name, policy in fresh.policies.items()} != {
            name: policy.sha256 for name, policy in self.current.policies.items()
        }
        if changed:
            self.current = fresh
        return changed


def _read(folder: Path | None) -> PolicySet:
    found: dict[str, Policy] = {}
    for path in sorted(folder.glob("*.y*ml")) if folder and folder.is_dir() else []:
        policy = load_policy(path)
        if policy.name in found:
            raise ConfigError(f"{path}: there is another policy named {policy.name!r}", param="name")
        found[policy.name] = policy
    found.setdefault("default", default_policy())
    return PolicySet(MappingProxyType(found), datetime.now(UTC))
