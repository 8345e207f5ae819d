"""Acts that the audit log records, and who performed them."""

from __future__ import annotations

from enum import StrEnum

from flightloop.content import Wire


class Act(StrEnum):
    """Kind of an audit record."""

    VERDICT = "verdict"  # guardrails decided about texts or calls
    APPROVAL = "approval"  # an approval was decided, or expired
    STOP = "stop"  # an emergency stop was raised
    LIFT = "lift"  # an emergency stop was cleared
    KEY_CREATED = "key_created"  # of the API
    KEY_REVOKED = "key_revoked"
    POLICY_STORED = "policy_stored"  # a policy's text was stored, when it was used for the first time
    POLICY_CHANGED = "policy_changed"  # the project has another policy, or an agent another one
    EXPORT = "export"  # runs left the platform as a file
    ERASURE = "erasure"  # the content of runs was erased, at a person's request or by age
    PROMOTION = "promotion"  # trained experts or lessons were put in use, or taken back
    AUDIT_KEY_CHANGED = "audit_key_changed"  # the next records are sealed with another key
    CHECKPOINTS_BEGUN = "checkpoints_begun"  # a new file of checkpoints was begun


class ActorKind(StrEnum):
    KEY = "key"  # the holder of an API key
    PERSON = "person"  # a person who logged in with OIDC
    COMMAND = "command"  # the OS user of a command on the server
    WORKER = "worker"  # a worker process, on behalf of a run
    SYSTEM = "system"  # the platform itself


class Actor(Wire):
    """Who performed an act."""

    kind: ActorKind
    id: str = ""
    """Id of the API key or person; ``own`` for a key configured at the deployment's start."""
    name: str = ""
    """Name of the key, person, OS user, worker or part of the platform."""


def system(name: str) -> Actor:
    """A part of the platform as an actor."""
    return Actor(kind=ActorKind.SYSTEM, name=name)
