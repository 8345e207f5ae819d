"""Texts of the policies that this process uses, by hash."""

from __future__ import annotations

import hashlib

from guardrails.policy import Policy


class PolicyTexts:
    """Collects policies, so that the store can keep the text of each one that decided something."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def add(self, policy: Policy) -> None:
        self._texts.setdefault(policy.sha256, policy.text)

    def get(self, sha256: str) -> str | None:
        """The policy's canonical JSON; None: no such policy is in use here."""
        return self._texts.get(sha256)


def is_text_of(sha256: str, text: str) -> bool:
    """Whether a text is that of the policy with this hash."""
    return hashlib.sha256(text.encode()).hexdigest() == sha256
