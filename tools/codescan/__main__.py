"""``python -m tools.codescan FILE…``: scans files and prints findings, or writes SARIF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flightloop import plain
from tools.codescan.dependencies import Dependencies, unknown_imports
from tools.codescan.finding import Language, Report, Severity
from tools.codescan.javac import javac_report
from tools.codescan.limits import NotExamined, ScanLimits
from tools.codescan.sarif import sarif
from tools.codescan.scanner import scan

app = typer.Typer(add_completion=False, help="Finds weaknesses in Python and Java. Nothing scanned is run.")
MOST_BYTES = 4 * ScanLimits().characters


@app.command()
def main(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Files that end in .py or .java.")],
    severity: Annotated[Severity, typer.Option(help="Print findings of this severity or worse.")] = Severity.LOW,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0.")] = False,
    javac: Annotated[bool, typer.Option("--javac", help="Also compile Java by javac -Xlint.")] = False,
    lock: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Lock file; imports that it lacks are findings.")
    ] = None,
) -> None:
    """Exits with 1 if anything was found or could not be examined."""
    reports = [_report(path, javac=javac, lock=lock) for path in files]
    reports = [replace(report, findings=report.at_least(severity)) for report in reports]
    if as_sarif:
        typer.echo(json.dumps(sarif(reports), indent=2))
    else:
        for report in reports:
            _print(report)
    raise typer.Exit(int(any(report.findings or report.errors for report in reports)))


def _report(path: Path, *, javac: bool, lock: Path | None) -> Report:
    language = Language.of_file(path.name)
    if language is None:
        raise typer.BadParameter(f"{path}: not a file of Python or Java; name files that end in .py or .java")
    try:
        text = plain.read_text(path, MOST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        return Report(language, str(path), errors=(f"cannot be read: {error}",))
    report = scan(text, language, str(path))
    if javac and language is Language.JAVA:
        compiled = javac_report(text, str(path))
        report = replace(report, findings=report.findings + compiled.findings, errors=report.errors + compiled.errors)
    if lock is not None:
        report = _with_imports(report, text, lock)
    return report


def _with_imports(report: Report, text: str, lock: Path) -> Report:
    try:
        dependencies = Dependencies.of_lock(lock, report.language)
        return replace(report, findings=(*report.findings, *unknown_imports(text, dependencies, report.file)))
    except (OSError, NotExamined) as error:
        return replace(report, errors=(*report.errors, str(error)))


def _print(report: Report) -> None:
    for finding in report.findings:
        typer.echo(f"{finding}\n    {finding.fix}")
    for error in report.errors:
        typer.echo(f"{report.file}: not examined: {error}", err=True)


if __name__ == "__main__":
    app(prog_name="python -m tools.codescan")
