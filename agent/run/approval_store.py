"""Port of the approvals in the journal's store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from flightloop.acts import Actor
from flightloop.runs import Approval, Page


class ApprovalStore(Protocol):
    async def approvals(
        self,
        tenant_id: str,
        *,
        status: str | None = None,
        run_id: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Approval]:
        """A page of approvals, newest first, bounded by ``limit`` and the page size."""
        ...

    async def approval(self, tenant_id: str, approval_id: str) -> Approval:
        """One approval. Raises NotFound if the tenant has none with this id."""
        ...

    async def run_approvals(self, run_id: str) -> list[Approval]:
        """All approvals of a run, oldest first."""
        ...

    async def decide(
        self,
        tenant_id: str,
        approval_id: str,
        decision: Literal["approve", "deny"],
        by: str,
        reason: str | None = None,
        actor: Actor | None = None,
        others: Sequence[Actor] = (),
    ) -> Approval:
        """Decides a pending approval; the run is queued again once none is pending.

        A denial ends it. An approval that needs several persons stays pending until the last one has approved.

        Args:
            by: name in the run's events.
            actor: the same one in the audit log; None: the platform, as ``by``.
            others: holders of keys that are not in the store and may decide in this tenant, too.

        Raises:
            NotFound: no such approval.
            Conflict: it is already decided or has expired, or the person has approved it already.
            Forbidden: the policy keeps this person from approving, or the key was revoked.
        """
        ...

    async def expire_approvals(self) -> list[Approval]:
        """Expires approvals that nobody decided in time. The model sees them as denied."""
        ...
