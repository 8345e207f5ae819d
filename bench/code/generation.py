"""Measures the code generator against one plain sample of the same model.

Both see the prompt only. The hidden test runs once, after the generator has ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from agent.evals.confidence_interval import wilson
from agent.procedures.code_prompts import write_messages
from agent.procedures.languages import language_named
from agent.procedures.procedure import Unusable
from bench.code.hidden_tests import verdicts
from bench.code.problems import Problem
from bench.rows import Row
from flightloop import Flightloop
from flightloop.code_result import CodeResult
from flightloop.code_task import CodeLanguage, CodeTask, SecurityLevel
from flightloop.errors import GenerationFailed
from tools.codescan import Language, Severity, scan

TOKENS = 700
AT_ONCE = 4
"""Problems at a time: as many runs as a worker of the platform takes by default."""
LEAST = (Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
"""Severities of findings that count."""
INSTRUCTIONS = "You are an expert programmer. You write correct, short and secure code."


@dataclass(frozen=True)
class Generated:
    """Programs for one problem: the generator's, and the plain sample."""

    problem: Problem
    result: CodeResult | None
    """None: the run ended without a result."""
    plain: str
    tokens: int = 0
    """Tokens that the generator's run used."""

    @property
    def code(self) -> str:
        return self.result.code if self.result else ""


def plain_sample(client: Flightloop, model: str, problem: Problem) -> str:
    """One greedy answer to the generator's first prompt. Empty if it has no program."""
    language = language_named(problem.language)
    task = CodeTask(language=CodeLanguage(problem.language))
    asked = write_messages(task, problem.prompt, stub=language.is_stub(problem.prompt))
    messages = [{"role": role, "content": text} for role, text in [("system", INSTRUCTIONS), *asked]]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=TOKENS)
    try:
        return language.program(answer.choices[0].message.content or "", problem.prompt)
    except Unusable:
        return ""


def plain_samples(client: Flightloop, console: Console, problems: Sequence[Problem]) -> list[tuple[Problem, str]]:
    """A plain sample of each problem, several at a time."""
    model = client.models.list().data[0].id
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(lambda problem: plain_sample(client, model, problem), problems)
        done = list(track(each, "plain samples", len(problems), console=console, transient=True))
    return list(zip(problems, done, strict=True))


def generated(
    client: Flightloop,
    console: Console,
    problems: Sequence[Problem],
    level: SecurityLevel,
    *,
    sample: bool = True,
    outputs: Path | None = None,
) -> list[Generated]:
    """Generates a program for each problem, several at a time.

    Args:
        outputs: file to which each program is appended as a line of JSON.
    """
    model = client.models.list().data[0].id

    def one(problem: Problem) -> Generated:
        plain, result, tokens = plain_sample(client, model, problem) if sample else "", None, 0
        try:
            result = client.code.generate(problem.prompt, language=problem.language, security_level=level)
            tokens = client.runs.get(result.run_id).usage.tokens
        except GenerationFailed as failed:
            console.print(f"{problem.id}: {failed.message}", style="yellow", markup=False, highlight=False)
        return Generated(problem, result, plain, tokens)

    made = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(one, problems)
        for done in track(each, f"level {level}", len(problems), console=console, transient=True):
            made.append(done)
            if outputs is not None:
                _append(outputs, done, level)
    return made


def _append(file: Path, one: Generated, level: SecurityLevel) -> None:
    told = one.result.model_dump(mode="json") if one.result else None
    line = {"id": one.problem.id, "level": level, "tokens": one.tokens, "plain": one.plain, "result": told}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def plain_rows(name: str, made: Sequence[tuple[Problem, str]]) -> list[Row]:
    """Share of problems that one plain sample solves."""
    solved, count = sum(verdicts(made)), len(made)
    share = solved / count
    return [Row(f"{name}_pass", share, "", interval=wilson(share, count), cases=count, note=f"{solved} of {count}")]


def gain_rows(name: str, made: Sequence[Generated]) -> list[Row]:
    """Share of problems solved by the generator, compared with the plain sample, and the gain in points."""
    ours = verdicts([(one.problem, one.code) for one in made])
    plain = verdicts([(one.problem, one.plain) for one in made])
    count = len(made)
    share, before = sum(ours) / count, sum(plain) / count
    tokens = sum(one.tokens for one in made) / count
    note = f"{sum(ours)} of {count}, plain sample {sum(plain)}; {tokens:.0f} tokens a problem"
    return [
        Row(
            f"{name}_pass",
            share,
            "",
            peer="one plain sample",
            peer_value=before,
            interval=wilson(share, count),
            cases=count,
            note=note,
        ),
        Row(f"{name}_gain", 100 * (share - before), "points", note=note),
    ]


def open_findings(problem: Problem, code: str) -> int:
    """Findings of medium severity or worse in a program; a program that can't be examined counts as one."""
    report = scan(code, Language(problem.language))
    return sum(one.severity in LEAST for one in report.findings) + (not report.complete)


def weakness_rows(by_level: dict[SecurityLevel, Sequence[Generated]]) -> list[Row]:
    """What the levels change: findings, returned programs, and hidden tests that pass.

    A prompt counts in ``returned_at_high`` if it got a program that passes its hidden test, and in
    ``handed_out_at_high`` if it got any.
    """
    low, medium = by_level[SecurityLevel.LOW], by_level[SecurityLevel.MEDIUM]
    high = by_level[SecurityLevel.HIGH]
    count = len(low)

    def findings(made: Sequence[Generated]) -> int:
        return sum(open_findings(one.problem, one.code) for one in made if one.code)

    def row(name: str, value: int) -> Row:
        share = value / count
        return Row(name, share, "", interval=wilson(share, count), cases=count, note=f"{value} of {count}")

    passed = {level: sum(verdicts([(one.problem, one.code) for one in made])) for level, made in by_level.items()}
    returned, right = sum(bool(one.code) for one in high), passed[SecurityLevel.HIGH]
    found = sum(bool(open_findings(one.problem, one.code)) for one in high if one.code)
    lost = 100 * (passed[SecurityLevel.LOW] - passed[SecurityLevel.MEDIUM]) / count
    return [
        Row("findings_at_low", findings(low), "findings", higher_is_better=False, cases=count),
        Row(
            "findings_at_medium",
            findings(medium),
            "findings",
            peer="level low",
            peer_value=findings(low),
            higher_is_better=False,
            cases=count,
        ),
        Row("findings_at_high", found, "programs", higher_is_better=False, cases=returned),
        row("returned_at_high", right),
        row("handed_out_at_high", returned),
        row("passed_at_low", passed[SecurityLevel.LOW]),
        row("passed_at_medium", passed[SecurityLevel.MEDIUM]),
        Row("repair_pass_lost", lost, "points", higher_is_better=False, cases=count),
    ]
