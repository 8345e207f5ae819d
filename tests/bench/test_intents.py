"""The messages that classification is measured with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agent.evals.task import TaskError
from agent.project.intents import Intents
from agent.project.project import EMBEDDED
from bench.intents import CHINESE, ENGLISH, read


@pytest.mark.parametrize(("file", "each"), [(ENGLISH, 8), (CHINESE, 5)])
def test_each_intent_has_as_many_messages(file: Path, each: int) -> None:
    messages = read(file)
    counts = Counter(message.intent for message in messages)
    assert set(counts) == set(Intents.read(EMBEDDED).about)
    assert set(counts.values()) == {each}
    assert len({message.text for message in messages}) == len(messages)


@pytest.mark.parametrize("line", ["{", '{"text": "a"}', '{"text": "a", "intent": "b", "more": 1}'])
def test_a_wrong_file_is_told(line: str, tmp_path: Path) -> None:
    path = tmp_path / "intents.jsonl"
    path.write_text(line)
    with pytest.raises(TaskError, match="cannot be read"):
        read(path)
