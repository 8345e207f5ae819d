"""Loads a policy from YAML into an immutable ``Policy`` with a hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.runs import PolicyInfo
from guardrails.policy_document import LONGEST_MS, PolicyDocument
from guardrails.yaml_document import YamlDocument
from observability.bounded_yaml import DOCUMENT_BYTES

DEFAULT_PATH = Path(__file__).parent / "policies" / "default.yaml"


@dataclass(frozen=True)
class Policy:
    """A policy. ``sha256`` is the hash of its canonical document, independent of the YAML's formatting."""

    name: str
    version: str
    sha256: str
    document: PolicyDocument

    @property
    def text(self) -> str:
        """Canonical JSON; its SHA-256 is ``sha256``."""
        return _text(self.document)

    def info(self, loaded_at: Any) -> PolicyInfo:
        return PolicyInfo(
            name=self.name,
            version=self.version,
            sha256=self.sha256,
            document=self.document.canonical(),
            loaded_at=loaded_at,
        )


def policy_of(document: PolicyDocument) -> Policy:
    digest = hashlib.sha256(_text(document).encode()).hexdigest()
    return Policy(document.name, document.version, digest, document)


def _text(document: PolicyDocument) -> str:
    return json.dumps(document.canonical(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def unhurried(policy: Policy) -> Policy:
    """The policy with ten minutes for each stage, for offline work whose outcome must not depend on how busy the
    machine is."""
    document = policy.document
    stages = {name: stage.model_copy(update={"timeout_ms": LONGEST_MS}) for name, stage in document.stages}
    return policy_of(document.model_copy(update={"stages": document.stages.model_copy(update=stages)}))


def unbound(policy: Policy) -> Policy:
    """The policy without bindings to the subject and limits per owner, for offline work on results that were given to
    this subject."""
    limits = tuple(limit for limit in policy.document.limits if not limit.needs_owner)
    return policy_of(policy.document.model_copy(update={"subject": None, "limits": limits}))


def unasked(policy: Policy) -> Policy:
    """The policy without questions to the user, for offline work in which nobody answers: writes that strangers may
    have suggested ask a person instead, where the user's words don't ask for them."""
    if policy.document.tools.lock_to_plan != "confirm":
        return policy
    tools = policy.document.tools.model_copy(update={"lock_to_plan": "auto"})
    return policy_of(policy.document.model_copy(update={"tools": tools}))


def parse_policy(text: str, source: str = "policy") -> Policy:
    """Reads a policy from YAML text. Missing sections and stages come from the default policy.

    Raises:
        ConfigError: not YAML, or a field is unknown, missing or wrong; names the line and the field.
    """
    own = _mapping(text, source)
    return policy_of(_validated(_with_defaults(own.value, _default_mapping()), own))


def load_policy(path: Path) -> Policy:
    """Reads a policy from a file.

    Raises:
        ConfigError: as ``parse_policy``, or the file cannot be read.
    """
    try:
        text = plain.read_text(path, DOCUMENT_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_policy(text, str(path))


@cache
def default_policy() -> Policy:
    """The built-in policy, for agents that don't name one."""
    return policy_of(_validated(_default_mapping(), _default_document()))


@cache
def _default_document() -> YamlDocument:
    return _mapping(DEFAULT_PATH.read_text(encoding="utf-8"), str(DEFAULT_PATH))


def _default_mapping() -> dict[str, Any]:
    value: dict[str, Any] = _default_document().value
    return value


def _mapping(text: str, source: str) -> YamlDocument:
    document = YamlDocument.parse(text, source)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{source}: a policy must be a mapping with name, version, stages …")
    return document


def _with_defaults(own: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    merged = {key: default[key] for key in ("stages", "tools", "egress")} | own
    if isinstance(own.get("stages"), dict):
        merged["stages"] = default["stages"] | own["stages"]
    return merged


def _validated(value: dict[str, Any], document: YamlDocument) -> PolicyDocument:
    try:
        return PolicyDocument.model_validate(value)
    except ValidationError as error:
        raise document.refused(error, PolicyDocument, "policy") from error
