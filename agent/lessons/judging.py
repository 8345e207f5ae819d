"""Training rows that teach the model to be the guardrails' judge: prompts of the real rails, with correct answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import yaml

from agent.lessons.project_lessons import FOLDER
from flightloop.errors import ConfigError
from flightloop.verdicts import Stage
from guardrails.critique import constitution_rail
from guardrails.policy_document import Constitution
from guardrails.rail_entries import ContentEntry
from guardrails.rails.content import content_rail
from guardrails.types import Checked, GuardContext, Judgement

SOURCE = "guardrails"


class Judging:
    """Makes training rows of critiques, revisions and judgements of offensive language.

    Args:
        project: folder of the project, whose ``lessons/judging.yaml`` holds the sentences.
        principles: principles of the project's constitution.
        somebody: draws a person's data for the placeholders of the sentences.
    """

    def __init__(
        self,
        project: Path,
        principles: tuple[str, ...],
        somebody: Callable[[Random], Mapping[str, str]],
        random: Random,
    ) -> None:
        path = project / FOLDER / "judging.yaml"
        try:
            known = yaml.safe_load(path.read_text(encoding="utf-8"))
            self._faults: dict[str, Any] = known["principles"]
            self._offensive: dict[str, str] = known["offensive"]
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        strange = [word for word in self._faults if not any(word in text for text in principles)]
        if strange:
            raise ConfigError(f"{path}: no principle of the constitution has the word {strange[0]!r}")
        self._principles = principles
        self._somebody = somebody
        self._random = random

    async def critique(self, good: str) -> list[dict[str, Any]]:
        """Rows for a good answer with a bad sentence added: the critique, the revision, the revision's critique."""
        principles = list(self._principles)
        if self._random.random() < 0.5:
            self._random.shuffle(principles)
        word = self._random.choice(list(self._faults))
        number = next(index for index, text in enumerate(principles, 1) if word in text)
        sentence = self._random.choice(self._faults[word]["sentences"].splitlines()).format(
            **self._somebody(self._random)
        )
        bad = f"{good} {sentence}" if self._random.random() < 0.7 else f"{sentence} {good}"
        objection = f"VIOLATION: It breaks principle {number}: {self._faults[word]['why']}."
        judge = _Judge([objection, good, "OK"])
        rail = constitution_rail(Constitution(enabled=True, principles=tuple(principles)), judge, _allowing)
        await rail(Checked(Stage.FINAL, bad, GuardContext()))
        return judge.rows()

    async def offensive(self) -> list[dict[str, Any]]:
        word = self._random.choice(list(self._offensive))
        text = self._random.choice(self._offensive[word].splitlines())
        judge = _Judge([word.upper()])
        await content_rail(ContentEntry(rail="content", judge_from=0.0, block_at=1.0), judge)(
            Checked(Stage.INPUT, text, GuardContext())
        )
        return judge.rows()


class _Judge:
    """A judge that answers the n-th prompt with the n-th answer, and records both."""

    def __init__(self, answers: list[str]) -> None:
        self._answers = answers
        self._prompts: list[str] = []

    async def __call__(self, prompt: str) -> str:
        self._prompts.append(prompt)
        return self._answers[len(self._prompts) - 1]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
                "source": SOURCE,
                "intent": "judging",
            }
            for prompt, answer in zip(self._prompts, self._answers, strict=True)
        ]


async def _allowing(checked: Checked) -> Judgement:
    return Judgement()
