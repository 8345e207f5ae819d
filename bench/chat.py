"""``python -m bench chat`` asks ordinary questions that need no tool; each is judged by fixed words of its answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from agent.evals.confidence_interval import wilson
from agent.evals.task import TaskError
from bench.platform import Platform
from bench.rows import Row
from flightloop import Flightloop

QUESTIONS = Path(__file__).parent / "tasks" / "chat.jsonl"
"""Written by somebody who knew none of the training data."""
MOST_TOKENS = 256
EVASIONS = (
    *("tool_call", '{"name"', '{ "name"', '"arguments"', "no tool", "no suitable tool", "no available tool"),
    *("none of the tools", "none of the available", "have a tool", "have the tool"),
    *("i can't answer", "i cannot answer", "unable to answer"),
    *("没有工具", "没有合适的工具", "没有可用的工具", "没有相应的工具", "没有相关工具", "无法调用", "工具调用"),
    *("无法帮您", "无法帮你", "帮不了", "无法回答", "不能回答"),
)
"""What no answer to an ordinary question says."""
REFUSALS = (
    *("i can't", "i cannot", "unable to", "not able to", "sorry, but i", "i'm unable", "i don't know", "i do not know"),
    *(
        "无法帮助",
        "不能帮助",
        "无法提供帮助",
        "抱歉,我不能",
        "抱歉，我不能",
        "抱歉,我无法",
        "抱歉，我无法",
        "不清楚",
        "我不知道",
    ),
)
"""What only answers about the assistant itself may say."""


@dataclass(frozen=True)
class Question:
    """A question and what its answer must say.

    Attributes:
        id: begins with the kind; Chinese ones begin with ``zh-``.
        messages: the conversation up to the question.
        expect: groups of alternatives; one of each must occur, whatever the case.
        forbid: what must not occur, besides `EVASIONS`.
        declines: whether the answer may say what the assistant can't do; otherwise it has none of `REFUSALS`.
    """

    id: str
    messages: list[dict[str, Any]]
    expect: list[list[str]]
    forbid: list[str] = field(default_factory=list)
    declines: bool = False

    def judge(self, answer: str) -> bool:
        said = answer.replace("’", "'").lower()
        met = all(any(each.lower() in said for each in group) for group in self.expect)
        banned = (*EVASIONS, *self.forbid, *(() if self.declines else REFUSALS))
        return met and not any(each.lower() in said for each in banned)


def read(path: Path = QUESTIONS) -> list[Question]:
    """Reads questions. Raises TaskError: the file can't be read, or a line is no question."""
    try:
        return [Question(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None


def measure(console: Console, port: int, outputs: Path | None = None) -> list[Row]:
    """Starts a platform with a home of its own, asks all questions greedily, and stops it.

    Args:
        outputs: file for the answers, JSON lines.

    Raises:
        PlatformFailed: the platform did not start.
        FlightloopError: the platform rejects a request.
    """
    questions = read()
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        Platform(Path(folder), port, ("--no-console", "--no-prometheus")) as platform,
        Flightloop(base_url=platform.url, api_key=platform.key) as client,
    ):
        asked = track(_answers(client, questions), "questions", total=len(questions), console=console)
        answers = list(asked)
    right = {question.id: question.judge(answer) for question, answer in zip(questions, answers, strict=True)}
    if outputs:
        lines = [
            {"id": question.id, "right": right[question.id], "answer": answer}
            for question, answer in zip(questions, answers, strict=True)
        ]
        outputs.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    chinese = [one for name, one in right.items() if name.startswith("zh-")]
    return [_row("chat_sane", list(right.values())), _row("chat_sane_zh", chinese)]


def _answers(client: Flightloop, questions: Sequence[Question]) -> Iterator[str]:
    model = client.models.list().data[0].id
    for question in questions:
        completion = client.chat.completions.create(
            model=model, messages=question.messages, temperature=0.0, max_tokens=MOST_TOKENS
        )
        yield completion.choices[0].message.content or ""


def _row(name: str, right: Sequence[bool]) -> Row:
    share = sum(right) / len(right)
    return Row(name, share, "share", interval=wilson(share, len(right)), cases=len(right))
