"""Who must decide about a call that needs approval, as a policy says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_PERSONS = 5


class ApprovalRule(BaseModel):
    """Who must decide. A person is the holder of a key; two have different keys with different names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    persons: Annotated[int, Field(ge=1, le=MOST_PERSONS, strict=True)] = 1
    """Number of persons who must approve. One who denies is enough to deny."""
    not_starter: Annotated[bool, Field(strict=True)] = False
    """Whether the person who started the run can't approve, if the tenant has another key that may."""

    def covers(self, other: ApprovalRule) -> bool:
        """Whether an approval under this rule is enough where the other one holds."""
        return self.persons >= other.persons and (self.not_starter or not other.not_starter)


class WrittenApprovalRule(ApprovalRule):
    """A rule as a policy has it, which must demand something."""

    @model_validator(mode="after")
    def _demands_something(self) -> WrittenApprovalRule:
        if self.persons == 1 and not self.not_starter:
            raise ValueError("demands nothing: any one person decides anyway; set persons: 2 or not_starter: true")
        return self


ANYBODY = ApprovalRule()


def strictest(rules: Iterable[ApprovalRule | None]) -> ApprovalRule:
    """The rule under which an approval is enough for all of them."""
    found = [rule for rule in rules if rule is not None and rule is not ANYBODY]
    if not found:  # the usual case, for each rail of each check
        return ANYBODY
    return ApprovalRule(
        persons=max(rule.persons for rule in found), not_starter=any(rule.not_starter for rule in found)
    )
