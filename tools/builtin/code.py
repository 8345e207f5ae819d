"""Tools that check a program without running it: for weaknesses, against constraints, by its compiler."""

from __future__ import annotations

import os
import warnings
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flightloop.tool import tool
from tools.builtin.forked import REPORT, run_forked

MOST_FINDINGS = 30
COMPILE_SECONDS = 10.0
MOST_ERROR = 500
Code = Annotated[str, Field(min_length=1, max_length=50_000)]
Language = Literal["python", "java"]


class Asked(BaseModel):
    """Constraints on a program; see ``tools.codescan.constraints``."""

    model_config = ConfigDict(extra="ignore")

    imports: list[str] | None = None
    network: bool = True
    files: bool = True
    signature: str | None = None
    max_complexity: int | None = None
    max_line: int | None = None
    style: bool = False


# The program comes from the model, so results don't count as evidence.
@tool(effect="pure", timeout_s=20, returns_untrusted=True)
def scan_code(code: Code, language: Language = "python") -> Any:
    """Check a program for security weaknesses. The program is read, not run.

    Args:
        code: the program's source
        language: python or java
    """
    from tools.codescan import Language, scan  # with its libraries a third of a second of imports

    return _as_json(scan(code, Language(language), "program"))


@tool(effect="pure", timeout_s=20, returns_untrusted=True)
def check_constraints(code: Code, constraints: Asked, language: Language = "python") -> Any:
    """Check a program against constraints: imports, network, files, signature, complexity, style. It is not run.

    Args:
        code: the program's source
        constraints: what was asked for
        language: python or java
    """
    from tools.codescan import Language
    from tools.codescan.constraints import Constraints, check_constraints

    asked = constraints.model_dump()
    imports = asked.pop("imports")
    limits = Constraints(imports=None if imports is None else frozenset(imports), **asked)
    return _as_json(check_constraints(code, Language(language), limits, "program"))


@tool(effect="pure", timeout_s=60, permissions=("subprocess",), returns_untrusted=True)
def compile_code(code: Code, language: Language = "python") -> Any:
    """Compile a program without running it.

    Args:
        code: the program's source
        language: python or java
    """
    if language == "java":
        from tools.builtin.java import compiled

        return compiled(code)
    ended = run_forked(lambda: _compile(code), seconds=COMPILE_SECONDS, output_bytes=0, report_bytes=4096)
    if ended.exit == "ok":
        return {"compiled": True}
    told = ended.report.decode("utf-8", "replace")
    return {"compiled": False, "error": told or f"the compiler was {ended.exit}"}


def _compile(code: str) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "solution.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else error
        os.write(REPORT, f"{type(error).__name__}: {what}{line}"[:MOST_ERROR].encode())
        return 1
    return 0


def _as_json(report: Any) -> dict[str, Any]:
    """A report of the scanner as JSON."""
    result: dict[str, Any] = {
        "findings": [
            {
                "rule": finding.rule,
                **({} if finding.cwe is None else {"cwe": f"CWE-{finding.cwe}"}),
                "severity": finding.severity.value,
                "line": finding.line,
                "reason": finding.reason,
                "fix": finding.fix,
            }
            for finding in report.findings[:MOST_FINDINGS]
        ],
        "complete": report.complete,
    }
    if len(report.findings) > MOST_FINDINGS:
        result["note"] = f"only the first {MOST_FINDINGS} of {len(report.findings)} findings are shown"
    if report.errors:
        result["errors"] = list(report.errors)
    return result
