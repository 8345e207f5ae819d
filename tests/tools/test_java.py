"""Java in the tool ``run_tests``: programs as people write them, in the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flightloop.tool import ToolContext, ToolRefused
from tools.builtin.java_machine import jdk, version_of
from tools.config import ToolsConfig
from tools.host import ToolHosts

pytestmark = pytest.mark.asyncio(loop_scope="module")
JDK = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")
Tested = Callable[..., Awaitable[dict[str, Any]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tested(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tested]:
    data = tmp_path_factory.mktemp("data")
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as hosts:

        async def run(code: str, *tests: dict[str, str]) -> dict[str, Any]:
            context = ToolContext("run:0:0", "default", "run", "run", "agent", data, ())
            outcome = await hosts.call("run_tests", {"code": code, "language": "java", "tests": list(tests)}, context)
            assert outcome.ok, outcome.error
            return dict(outcome.content)

        yield run


def call(text: str, expected: str | None = None) -> dict[str, str]:
    return {"call": text} | ({} if expected is None else {"expected": expected})


@JDK
async def test_programs_may_have_packages_any_names_and_several_types(tested: Tested) -> None:
    code = (
        "package com.acme;\n\nimport java.util.List;\n\nsealed interface Shape permits Größe { double fläche(); }\n"
        "record Größe(double länge) implements Shape { public double fläche() { return länge * länge; } }\n"
        "class Objects { }\n"  # the harness must not take it for that of java.util
        "public final class Formen { static double summe(List<Shape> formen) {\n"
        "    return formen.stream().mapToDouble(Shape::fläche).sum(); } }\n"
    )
    main = "public class Main { public static void main(String[] a) { if (Formen.summe(List.of()) != 0) throw null; } }"
    told = await tested(
        code, call("summe(List.of(new Größe(2)))", "4.0"), {"statements": main}, call("new Größe(3).fläche()", "9.0")
    )
    assert [one["passed"] for one in told["tests"]] == [True, True, True], told


VALUES = """class Solution {
    static Object value(int which) throws Exception {
        switch (which) {
            case 0: return "ä\\n\\"\\\\";
            case 1: return new int[][] {{1}, {}};
            case 2: return java.util.List.of(1L, '\\'');
            default: return java.nio.file.Files.createTempFile("a", "b").toFile().setReadable(true, true);
        }
    }
}
"""


@JDK
async def test_values_are_told_as_literals_of_java(tested: Tested) -> None:
    told = await tested(VALUES, *(call(f"value({which})") for which in range(4)))
    literals = ['"ä\\n\\"\\\\"', "new int[][] {new int[] {1}, new int[] {}}", "Arrays.asList(1L, '\\'')", "true"]
    assert [one.get("value") for one in told["tests"]] == literals, told
    again = await tested(VALUES, *(call(f"value({which})", literals[which]) for which in range(4)))
    assert [one["passed"] for one in again["tests"]] == [True] * 4, again


HOSTILE = """class Solution {
    static int hang() { while (true) { } }
    static int flood() { byte[] all = new byte[1_000_000];
        for (int i = 0; i < 100; i++) { System.out.write(all, 0, all.length); } return 1; }
    static int broken() { return Integer.parseInt("x"); }
    static int right() { return 1; }
    static int exit() { System.exit(0); return 1; }
}
"""


@JDK
async def test_one_bad_test_does_not_spoil_the_others(tested: Tested) -> None:
    told = await tested(
        HOSTILE, *(call(f"{name}()", "1") for name in ("hang", "missing", "flood", "broken", "right", "exit", "right"))
    )
    results = [(one["passed"], str(one.get("error", "")).partition(":")[0]) for one in told["tests"]]
    assert results == [
        (False, "not finished after 3 s"),
        (None, "the test does not compile"),
        (True, ""),
        (False, "java.lang.NumberFormatException"),
        (True, ""),
        (False, "not finished"),
        (False, "not finished"),
    ], told
    assert told["tests"][-1]["error"] == "not finished: the program ended itself"


@JDK
async def test_errors_name_the_programs_line(tested: Tested) -> None:
    told = await tested("class Solution {\n    static int f(int x) {\n        return 1 / x;\n    }\n}\n", call("f(0)"))
    assert told["tests"][0]["error"] == "java.lang.ArithmeticException: / by zero (line 3 of the program)"
    told = await tested("class Solution {\n    int f() {\n        return 1\n    }\n}\n", call("f()"))
    assert (told["loaded"], told["error"]) == (False, "line 3: ';' expected")


@pytest.mark.parametrize(
    ("release", "version"),
    [('JAVA_VERSION="17.0.21"', 17), ('A="b"\nJAVA_VERSION="1.8.0_402"', 8), ('JAVA_VERSION="25"', 25), ("", None)],
)
async def test_the_version_of_a_jdk_is_read(tmp_path: Path, release: str, version: int | None) -> None:
    (tmp_path / "release").write_text(release)
    assert version_of(tmp_path) == version
    assert version_of(tmp_path / "missing") is None


async def test_a_missing_or_old_jdk_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match=r"JDK of version 17 or later.*no javac.*default-jdk-headless"):
        jdk(str(tmp_path), str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "javac").write_text("")
    (tmp_path / "bin" / "javac").chmod(0o755)
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"')
    with pytest.raises(ToolRefused, match=r"17 or later.*bin/javac, is of version 11"):
        jdk(str(tmp_path / "bin"), str(tmp_path))
    (tmp_path / "release").write_text('JAVA_VERSION="21"')
    assert jdk(str(tmp_path / "bin"), str(tmp_path)) == tmp_path
