"""A class of tests in Java, for people to run: what examples and a model's tests show of a program."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.procedures.examples import Test
from tools.java_text import main_type, package_of, receiver_of

LITERAL = re.compile(
    r"""(?x)(?:
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)+' | -?\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?[LlFfDd]? | true | false | null
    | (?:Arrays\.asList|List\.of|Set\.of|Map\.of|Optional\.of|Optional\.empty) | new\s+[\w<>\[\], ]+ | [(){}\[\],\s-]
    )*"""
)
IMPORT = re.compile(r"^[ \t]*import\s+(?:static\s+)?([\w.]+(?:\.\*)?)\s*;[ \t]*\n?", re.M)
SCENARIO = "Main"
"""Name of a class whose ``main`` is a test."""
_CHECK = """\
    static void check(Object value, Object expected) {
        if (!same(value, expected)) {
            throw new AssertionError(value + " is not " + expected);
        }
    }

    static boolean same(Object value, Object expected) {
        if (value instanceof Number && expected instanceof Number) {
            double one = ((Number) value).doubleValue(), other = ((Number) expected).doubleValue();
            return one == other || Math.abs(one - other) <= 1e-6 * Math.max(1, Math.abs(one));
        }
        return java.util.Objects.deepEquals(value, expected);
    }
"""


def scenario_class(statements: str) -> str:
    """A class whose ``main`` runs statements that call ``check(value, expected)``."""
    lines = "\n".join(f"        {line.strip()}" for line in statements.splitlines() if line.strip())
    main = f"    public static void main(String[] args) throws Exception {{\n{lines}\n    }}\n"
    return f"class {SCENARIO} {{\n{main}\n{_CHECK}}}\n"


def java_test_file(tests: Sequence[Test], scenarios: Sequence[str], entry: str | None, code: str) -> str:
    """A class whose ``main`` throws if a test fails; empty if there is no test that can be written.

    Args:
        tests: calls with expected values. Those that are not literals are left out.
        scenarios: classes whose ``main`` throws if a test fails.
    """
    package, target = package_of(code), receiver_of(code, entry or "")
    kept = [(call, expected) for call, expected in tests if LITERAL.fullmatch(expected)]
    if not kept and not scenarios:
        return ""
    calls = [call if entry and not call.startswith(f"{entry}(") else f"{target}.{call}" for call, _ in kept]
    lines = [f"check({call}, {expected});" for call, (_, expected) in zip(calls, kept, strict=True)]
    lines += [f"Scenario{number}.main(arguments);" for number in range(1, len(scenarios) + 1)]
    imports = dict.fromkeys(found[0].strip() for text in scenarios for found in IMPORT.finditer(text))
    body = [*([_CHECK.rstrip()] if kept else []), *(_nested(text, number) for number, text in enumerate(scenarios, 1))]
    head = [f"package {package};", ""] if package else []
    main = "\n".join(f"        {line}" for line in lines)
    return "\n".join(
        [
            *head,
            *dict.fromkeys(["import java.util.*;", *imports]),
            "",
            f"class {main_type(code)}Test {{",
            f"    public static void main(String[] arguments) throws Exception {{\n{main}\n    }}\n",
            "\n\n".join(body),
            "}",
            "",
        ]
    )


def _nested(text: str, number: int) -> str:
    """A scenario as a class inside another one."""
    named = re.sub(rf"\b{SCENARIO}\b", f"Scenario{number}", IMPORT.sub("", text)).strip()
    return "\n".join(f"    {line}" if line else line for line in f"static {named}".splitlines())
