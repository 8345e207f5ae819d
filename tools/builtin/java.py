"""Java for the tools that compile and test programs: a JDK's compiler and virtual machine, confined like Python.

The machine gets no sockets and no processes, reads the JDK and its scratch folder only, and has limits on time, memory
and output. Tests are judged inside the machine: expected values are expressions of Java.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from flightloop.tool import ToolRefused
from tools.builtin.code_test import CodeTest
from tools.builtin.forked import Pipes, end, in_words
from tools.sandbox import landlock, rules, seccomp
from tools.sandbox.confinement import die_with_parent
from tools.sandbox.limits import Limits
from tools.sandbox.reading import DEVICES

COMPILE_SECONDS, RUN_SECONDS = 30.0, 15.0
MOST_OUTPUT = 256 * 1024
MOST_ERROR = 500
LIMITS = Limits(memory=1900 * 1024**2, file_size=8 * 1024**2, open_files=128, cpu=40)
JVM = (
    "-Xmx192m", "-Xss2m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:CompressedClassSpaceSize=48m",
    "-XX:ReservedCodeCacheSize=32m", "-XX:-UsePerfData", "-Xshare:auto", "-Djava.awt.headless=true",
)  # fmt: skip
IMPORTS = (
    "java.util.*", "java.util.function.*", "java.util.stream.*", "java.math.*", "java.security.*", "java.io.*",
    "java.nio.charset.*", "java.nio.file.*",
)  # fmt: skip
HARNESS, TESTS = "FlightloopHarness", "FlightloopTests"
_ERROR = re.compile(r"^(\w+)\.java:(\d+): error: (.*)$", re.M)
_DETAIL = re.compile(r"^\s+(symbol|location|required|found|reason):\s*(.*)$", re.M)
"""Lines that follow an error: which name is meant, and where it was looked for."""
_PUBLIC = re.compile(
    r"^\s*public\s+(?:(?:final|abstract|sealed|strictfp)\s+)*(?:class|interface|enum|record)\s+(\w+)", re.M
)
_CLASS = re.compile(r"\b(?:class|enum|record)\s+(\w+)")


@dataclass(frozen=True)
class Done:
    """A finished process. ``exit``: ``ok``, ``error N``, or why it was stopped."""

    output: str
    exit: str


def compiled(code: str) -> dict[str, Any]:
    """Compiles a program."""
    with TemporaryDirectory(prefix="java-") as folder:
        problem = _compiled(Path(folder), {_file_of(code): code})
    return {"compiled": True} if problem is None else {"compiled": False, "error": problem}


def tested(code: str, tests: Sequence[CodeTest]) -> dict[str, Any]:
    """Runs tests of a program: calls of its methods, or classes ``Main`` whose ``main`` must not raise."""
    with TemporaryDirectory(prefix="java-") as name:
        folder = Path(name)
        problem = _compiled(folder, {_file_of(code): code})
        if problem is not None:
            return {"loaded": False, "error": problem, "tests": []}
        if any(test.statements is not None for test in tests):
            results = [_main_result(folder, test) for test in tests]
        else:
            results = _call_results(folder, code, tests)
    return {"loaded": True, "tests": results}


def _main_result(folder: Path, test: CodeTest) -> dict[str, Any]:
    """Result of a test that is a class ``Main``."""
    source = _imports() + (test.statements or "")
    problem = _compiled(folder, {"Main.java": source})
    if problem is not None:
        return {"test": test.text, "passed": False, "error": problem}
    token = token_hex(16)
    body = f'Main.main(new String[0]); {HARNESS}.tell("done", "");'
    problem = _compiled(folder, {f"{HARNESS}.java": _harness([body])})
    if problem is not None:
        return {"test": test.text, "passed": False, "error": problem}
    done = _run(folder, token)
    said = _said(done.output, token)
    if any(one.get("kind") == "done" for one in said):
        return {"test": test.text, "passed": True}
    errors = [one["text"] for one in said if one.get("kind") == "error"]
    return {"test": test.text, "passed": False, "error": next(iter(errors), f"the program was {done.exit}")}


def _call_results(folder: Path, code: str, tests: Sequence[CodeTest]) -> list[dict[str, Any]]:
    """Results of tests that are calls. Calls that do not compile fail; the others are compiled without them."""
    bodies = [_call_body(code, test) for test in tests]
    broken: dict[int, str] = {}
    for _ in range(2):
        text = _harness([f"/* {broken[index]} */" if index in broken else body for index, body in enumerate(bodies)])
        output = _compiler_output(folder, {f"{HARNESS}.java": text})
        if output is None:
            break
        first = text[: text.index("/*first*/")].count("\n") + 2
        found = {int(line) - first: said for file, line, said in _ERROR.findall(output) if file == HARNESS}
        broken |= {index: said.replace("*/", "") for index, said in found.items() if 0 <= index < len(tests)}
        if not found:
            return [{"test": test.text, "passed": None, "error": "the test does not compile"} for test in tests]
    token = token_hex(16)
    done = _run(folder, token)
    said = {int(one["index"]): one for one in _said(done.output, token)}
    return [_result(test, said.get(index), broken.get(index), done.exit) for index, test in enumerate(tests)]


def _result(test: CodeTest, said: dict[str, Any] | None, broken: str | None, ended: str) -> dict[str, Any]:
    result: dict[str, Any] = {"test": test.text}
    if broken is not None:
        return result | {"passed": None, "error": f"the test does not compile: {broken}"}
    if said is None:
        return result | {"passed": False, "error": f"not finished: the program was {ended}"}
    if said["kind"] == "error":
        return result | {"passed": False, "error": said["text"][:MOST_ERROR]}
    passed = None if test.expected is None else said["kind"] == "same"
    return result | {"passed": passed, "value": said["text"]}


def _call_body(code: str, test: CodeTest) -> str:
    call = " ".join((test.call or "").split())
    name = call.partition("(")[0].strip()
    if "." not in name and not name.startswith("new "):
        call = f"{_receiver(code, name)}.{call}"
    expected = "NOTHING" if test.expected is None else " ".join(test.expected.split())
    return f"judge({call}, {expected});"


def _receiver(code: str, method: str) -> str:
    """The class or a new object of the class that declares a method."""
    found = re.search(rf"^.*\b{re.escape(method)}\s*\(.*$", code, re.M)
    at = found.start() if found else len(code)
    classes = [match for match in _CLASS.finditer(code) if match.start() < at and _depth(code[: match.start()]) == 0]
    owner = classes[-1][1] if classes else "Solution"
    return owner if found and re.search(r"\bstatic\b", found[0].partition(method)[0]) else f"new {owner}()"


def _depth(text: str) -> int:
    return text.count("{") - text.count("}")


def _harness(bodies: Sequence[str]) -> str:
    """A program that makes calls, and tells each result in a line that begins with its token."""
    lines = "\n".join(f"case {index}: {body} break;" for index, body in enumerate(bodies))
    return f"""{_imports()}
public class {HARNESS} {{
static final Object NOTHING = new Object();
static final java.io.PrintStream OUT = System.out;
static String token; static int index; static boolean told;
public static void main(String[] arguments) throws Throwable {{
token = arguments[0];
for (index = 0; index < {len(bodies)}; index++) {{ told = false; int number = index;
try {{ one(number); }} catch (Throwable error) {{ index = number; tell("error", error.toString()); }} index = number; }}
OUT.flush(); Runtime.getRuntime().halt(0);
}}
static void one(int number) throws Throwable {{ switch (number) {{ /*first*/
{lines}
}} }}
static void tell(String kind, String text) {{
StringBuilder line = new StringBuilder();
for (char sign : text.substring(0, Math.min(text.length(), 1000)).toCharArray())
line.append(sign < 32 || sign > 126 ? "?" : String.valueOf(sign));
OUT.println(); OUT.println(token + " " + index + " " + kind + " " + line); OUT.flush();
}}
static void judge(Object value, Object expected) {{
tell(expected == NOTHING ? "value" : same(value, expected) ? "same" : "other", shown(value));
}}
static boolean same(Object a, Object b) {{
if (a instanceof Number && b instanceof Number) {{
double x = ((Number) a).doubleValue(), y = ((Number) b).doubleValue();
return x == y || Math.abs(x - y) <= 1e-6 * Math.max(Math.abs(x), Math.abs(y)) || Math.abs(x - y) < 1e-9; }}
if (a instanceof List && b instanceof List) {{ List<?> x = (List<?>) a, y = (List<?>) b;
if (x.size() != y.size()) return false;
for (int i = 0; i < x.size(); i++) if (!same(x.get(i), y.get(i))) return false;
return true; }}
if (a instanceof Optional && !(b instanceof Optional)) return same(((Optional<?>) a).orElse(null), b);
return Objects.deepEquals(a, b);
}}
static String shown(Object value) {{
if (value == null || !value.getClass().isArray()) return String.valueOf(value);
String all = Arrays.deepToString(new Object[] {{ value }}); return all.substring(1, all.length() - 1);
}}
}}
"""


def _said(output: str, token: str) -> list[dict[str, Any]]:
    found = []
    for line in output.splitlines():
        if line.startswith(f"{token} "):
            _, index, kind, *text = line.split(" ", 3)
            found.append({"index": index, "kind": kind, "text": text[0] if text else ""})
    return found


def _imports() -> str:
    return "".join(f"import {name};" for name in IMPORTS) + "\n"


def _file_of(code: str) -> str:
    public = _PUBLIC.search(code)
    return f"{public[1] if public else 'Solution'}.java"


def _compiled(folder: Path, sources: dict[str, str]) -> str | None:
    """Compiles files in a folder. Returns the first error; None if there is none."""
    output = _compiler_output(folder, sources)
    if output is None:
        return None
    return _first_error(output)[:MOST_ERROR]


def _first_error(output: str) -> str:
    """The first error of the compiler with its details, on one line."""
    found = _ERROR.search(output)
    if found is None:
        return output.strip() or "the compiler failed"
    later = _ERROR.search(output, found.end())
    details = _DETAIL.findall(output, found.end(), later.start() if later else len(output))
    told = "; ".join(f"{kind}: {text}" for kind, text in details)
    return f"line {found[2]}: {found[3]}" + (f" ({told})" if told else "")


def _compiler_output(folder: Path, sources: dict[str, str]) -> str | None:
    """What the compiler says if it fails; None if it succeeds."""
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    jvm = [f"-J{option}" for option in JVM]
    options = ["-proc:none", "-nowarn", "-encoding", "UTF-8", "-classpath", str(folder), "-d", str(folder)]
    done = _confined([_program("javac"), *jvm, *options, *sources], folder, COMPILE_SECONDS)
    return None if done.exit == "ok" else done.output or f"the compiler was {done.exit}"


def _run(folder: Path, token: str) -> Done:
    return _confined([_program("java"), *JVM, "-cp", str(folder), HARNESS, token], folder, RUN_SECONDS)


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/lib/jvm/default-java/bin")
    if found is None:
        raise ToolRefused("This system has no JDK, so Java was neither compiled nor run: install default-jdk-headless.")
    return os.path.realpath(found)


def _confined(command: Sequence[str], folder: Path, seconds: float) -> Done:
    """Runs a program of the JDK in the sandbox."""
    if not landlock.version():
        raise ToolRefused("This system has no Landlock to keep Java from its files, so the program was not run.")
    home = Path(command[0]).parents[1]
    environment = {"LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}

    def enter() -> None:
        os.setsid()
        die_with_parent()
        readable = [
            home,
            Path("/etc/java-17-openjdk"),
            Path("/etc").joinpath(home.name),
            Path("/usr/lib"),
            Path("/lib"),
        ]
        landlock.restrict([*readable, Path("/lib64"), Path("/proc/self"), *DEVICES], [folder.resolve()], execute=True)
        LIMITS.apply()
        seccomp.install(rules.of_virtual_machine(signals=landlock.version() >= landlock.SCOPE_VERSION))

    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=enter,
    )  # fmt: skip
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    pipes = Pipes({pipe: MOST_OUTPUT})
    try:
        in_time = pipes.read(time.monotonic() + seconds)
    finally:
        process.stdout.close()
        status = end(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for
    return Done(bytes(pipes.kept[pipe]).decode("utf-8", "replace"), in_words(status, in_time, seconds))
