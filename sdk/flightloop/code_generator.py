"""``CodeGenerator``: generates programs in some languages at one security level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flightloop.client import Flightloop
from flightloop.code_resource import AGENT
from flightloop.code_result import CodeResult
from flightloop.code_task import CodeConstraints, CodeLanguage, SecurityLevel, language_of
from flightloop.errors import InvalidRequest


class CodeGenerator:
    """Generates programs in some languages at one security level.

    Args:
        languages: ``python`` and ``java``. With both, a prompt that names Java gets Java, and the first one is the
            default. Java needs a JDK of version 17 or later on the server.
        security_level: ``low``, ``medium`` or ``high``.
        client: default: a client of the server at ``FLIGHTLOOP_URL``.
        agent: name of the agent that generates code.

    Raises:
        InvalidRequest: an unknown language or level.
    """

    def __init__(
        self,
        languages: Sequence[str] = ("python",),
        security_level: str = "medium",
        client: Flightloop | None = None,
        agent: str = AGENT,
    ) -> None:
        known = [language.value for language in CodeLanguage]
        if not languages or not set(languages) <= set(known):
            raise InvalidRequest(f"languages: {list(languages)}; known: {', '.join(known)}", param="languages")
        levels = [level.value for level in SecurityLevel]
        if security_level not in levels:
            raise InvalidRequest(
                f"security_level: {security_level!r}; known: {', '.join(levels)}", param="security_level"
            )
        self.languages = tuple(languages)
        self.security_level = security_level
        self._client = client or Flightloop()
        self._agent = agent

    def generate(
        self,
        prompt: str,
        constraints: CodeConstraints | dict[str, Any] | None = None,
        language: str | None = None,
    ) -> CodeResult:
        """Generates a program; see ``client.code.generate``."""
        language = language or self._language_of(prompt)
        if language not in self.languages:
            raise InvalidRequest(f"language: {language!r}; this generator has {', '.join(self.languages)}")
        return self._client.code.generate(
            prompt,
            language=language,
            constraints=constraints,
            security_level=self.security_level,
            agent=self._agent,
        )

    def _language_of(self, prompt: str) -> str:
        named = language_of(prompt, default=CodeLanguage(self.languages[0]))
        return named.value if named.value in self.languages else self.languages[0]
