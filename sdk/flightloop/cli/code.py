"""The command ``code``: has an agent generate a program, and writes its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flightloop import Flightloop
from flightloop.cli.console import PlainConsole
from flightloop.cli.live import follow
from flightloop.code_resource import AGENT, result_of
from flightloop.code_result import CodeAttempt, CodeResult
from flightloop.code_task import CodeLanguage, SecurityLevel
from flightloop.errors import InvalidRequest

console = PlainConsole()


def code(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What the program should do; @FILE reads it from a file.")],
    language: Annotated[
        CodeLanguage | None,
        typer.Option(
            "--language",
            "-l",
            help="Default: java if the prompt names Java, and python otherwise. Java needs a JDK of version 17 or later"
            " on the server.",
        ),
    ] = None,
    level: Annotated[
        SecurityLevel,
        typer.Option(help="low: reports findings; medium: repairs all but low ones; high: a clean program or none."),
    ] = SecurityLevel.MEDIUM,
    signature: Annotated[str | None, typer.Option(help="Function that must be defined.")] = None,
    imports: Annotated[str | None, typer.Option(help="Allowed imports, separated by commas.")] = None,
    network: Annotated[bool, typer.Option(help="Whether the program may reach the network.")] = True,
    files: Annotated[bool, typer.Option(help="Whether the program may reach files.")] = True,
    complexity: Annotated[int | None, typer.Option(min=1, help="Largest cyclomatic complexity.")] = None,
    style: Annotated[bool, typer.Option("--style", help="Check the style, too.")] = False,
    growth: Annotated[str | None, typer.Option(help="Largest growth of the time, such as 'O(n log n)'.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=20, help="Maximum number of programs.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for program and tests.")] = None,
    agent: Annotated[str, typer.Option("--agent", "-a", help="Name of the agent that generates code.")] = AGENT,
) -> None:
    """Generate a program and follow the run. Exit with 0 if a program is returned without open problems."""
    constraints = {
        "signature": signature,
        "imports": None if imports is None else [name.strip() for name in imports.split(",") if name.strip()],
        "network": network,
        "files": files,
        "max_complexity": complexity,
        "style": style,
        "growth": growth,
    }
    text = _text_of(Path(prompt[1:])) if prompt.startswith("@") else prompt
    with Flightloop(context.obj) as client:
        run = client.code.start(
            text, language=language, constraints=constraints, security_level=level, rounds=rounds, agent=agent
        )
        result = result_of(follow(client, console, run.id, reply=False))
    _tell(result)
    if out is not None and result.files:
        _write(result, out)
    elif out is None:
        _show(result)
    raise typer.Exit(0 if result.returned and result.stopped is None else 1)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _tell(result: CodeResult) -> None:
    for number, attempt in enumerate(result.attempts, 1):
        console.print(_attempt_line(number, attempt), style="dim", markup=False, highlight=False)
    for one in result.findings:
        cwe = f" CWE-{one.cwe}" if one.cwe else ""
        console.print(f"line {one.line}: {one.severity}{cwe} {one.rule}: {one.reason}", markup=False, highlight=False)
    for missing in result.unverified:
        console.print(f"not verified: {missing}", style="yellow", markup=False, highlight=False)
    if result.stopped:
        why = result.stopped if result.returned else f"no program is returned: {result.stopped}"
        console.print(why, style="red", markup=False, highlight=False)
    if not result.returned and result.attempts:
        told = f"The console shows the programs that were written, in the run {result.run_id}."
        console.print(told, style="dim", markup=False, highlight=False)


def _attempt_line(number: int, attempt: CodeAttempt) -> str:
    """One line that tells what became of a program."""
    count = attempt.passed + attempt.failed
    tests = f", {attempt.passed} of {count} tests pass" if count else ""
    findings = f", {attempt.findings} open finding{'' if attempt.findings == 1 else 's'}" if attempt.findings else ""
    compiles = "compiles" if attempt.compiled else "does not compile"
    problem = f": {' '.join(attempt.problem.split())}" if attempt.problem else ""
    return f"program {number} ({attempt.kind}) {compiles}{tests}{findings}{problem}"


def _show(result: CodeResult) -> None:
    for file in (*result.files, *result.tests):
        console.print(f"\n{file.path}", style="bold", markup=False, highlight=False)
        console.print(file.text.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)


def _write(result: CodeResult, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*result.files, *result.tests):
        path = folder / Path(file.path).name
        path.write_text(file.text, encoding="utf-8")
        console.print(f"  {path}", markup=False, highlight=False)
