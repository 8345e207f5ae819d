"""The Java program that makes test calls, and tells each result in a line that begins with its token.

It stands in the package of the program that it tests, and names classes of the library in full, since the program may
define others of the same names. Each call has a thread of its own. One that is late is stopped where the JDK still can
(https://openjdk.org/jeps/8277861 took Thread.stop away from version 20 on), and left behind otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

NAME = "FlightloopHarness"
FIRST = "/*first*/"
"""Marks the line before the first call."""
IMPORTS = (
    "java.util.*", "java.util.function.*", "java.util.stream.*", "java.math.*", "java.security.*", "java.io.*",
    "java.nio.charset.*", "java.nio.file.*", "java.time.*",
)  # fmt: skip
"""Imports that tests needn't write."""
_SOURCE = """
public class HARNESS {
static final java.lang.Object NOTHING = new java.lang.Object();
static final java.io.PrintStream OUT = java.lang.System.out;
public static void main(java.lang.String[] arguments) throws java.lang.Throwable {
java.io.PrintStream none = new java.io.PrintStream(java.io.OutputStream.nullOutputStream());
java.lang.System.setOut(none); java.lang.System.setErr(none);
for (int number = 0; number < COUNT; number++) {
Call call = new Call(arguments[0], number);
call.setDaemon(true); call.start(); call.join(MILLISECONDS); call.close();
}
OUT.flush(); java.lang.Runtime.getRuntime().halt(0);
}
static void one(Call call, int number) throws java.lang.Throwable { switch (number) { /*first*/
CASES
} }
static class Call extends java.lang.Thread {
final java.lang.String token; final int number; boolean told;
Call(java.lang.String token, int number) { this.token = token; this.number = number; }
@java.lang.Override public void run() {
try { one(this, number); } catch (java.lang.Throwable error) { failed(error); }
}
void failed(java.lang.Throwable error) {
java.lang.String said;
try { said = error.toString(); } catch (java.lang.Throwable other) { said = error.getClass().getName(); }
for (java.lang.StackTraceElement at : error.getStackTrace())
if ("FILE".equals(at.getFileName())) { said += " (line " + at.getLineNumber() + " of the program)"; break; }
tell("error", said);
}
void close() {
if (!isAlive()) return;
tell("late", "");
try { java.lang.Thread.class.getMethod("stop").invoke(this); } catch (java.lang.Throwable error) { }
}
void judge(java.lang.Object value, java.lang.Object expected) {
java.lang.String text = shown(value, 0);
tell(expected == NOTHING ? "value" : same(value, expected) ? "same" : "other", text);
}
synchronized void tell(java.lang.String kind, java.lang.String text) {
if (told) return;
told = true;
java.lang.StringBuilder line = new java.lang.StringBuilder();
for (char sign : text.substring(0, java.lang.Math.min(text.length(), 2000)).toCharArray())
line.append(sign < 32 || sign > 126 || sign == '\\\\' ? java.lang.String.format("\\\\u%04x", (int) sign) : sign);
OUT.println(); OUT.println(token + " " + number + " " + kind + " " + line); OUT.flush();
}
}
static boolean same(java.lang.Object a, java.lang.Object b) {
if (a instanceof java.lang.Number && b instanceof java.lang.Number) {
double x = ((java.lang.Number) a).doubleValue(), y = ((java.lang.Number) b).doubleValue();
return x == y || java.lang.Math.abs(x - y) <= 1e-6 * java.lang.Math.max(java.lang.Math.abs(x), java.lang.Math.abs(y))
|| java.lang.Math.abs(x - y) < 1e-9; }
if (a instanceof java.util.List && b instanceof java.util.List) {
java.util.List<?> x = (java.util.List<?>) a, y = (java.util.List<?>) b;
if (x.size() != y.size()) return false;
for (int i = 0; i < x.size(); i++) if (!same(x.get(i), y.get(i))) return false;
return true; }
if (a instanceof java.util.Optional && !(b instanceof java.util.Optional))
return same(((java.util.Optional<?>) a).orElse(null), b);
return java.util.Objects.deepEquals(a, b);
}
static java.lang.String shown(java.lang.Object value, int depth) {
if (value instanceof java.lang.CharSequence || value instanceof java.lang.Character) {
char quote = value instanceof java.lang.Character ? '\\'' : '"';
java.lang.StringBuilder text = new java.lang.StringBuilder().append(quote);
for (char sign : value.toString().toCharArray()) {
if (sign == quote || sign == '\\\\') text.append('\\\\').append(sign);
else if (sign == '\\n') text.append("\\\\n");
else text.append(sign < 32 ? java.lang.String.format("\\\\u%04x", (int) sign) : sign);
}
return text.append(quote).toString(); }
if (value instanceof java.lang.Long) return value + "L";
if (value instanceof java.lang.Float) return value + "f";
if (value != null && value.getClass().isArray() && depth < 8) {
java.lang.StringBuilder text = new java.lang.StringBuilder("new " + value.getClass().getSimpleName() + " {");
for (int i = 0; i < java.lang.reflect.Array.getLength(value) && text.length() < 2000; i++)
text.append(i == 0 ? "" : ", ").append(shown(java.lang.reflect.Array.get(value, i), depth + 1));
return text.append("}").toString(); }
if (value instanceof java.util.List && depth < 8) {
java.lang.StringBuilder text = new java.lang.StringBuilder("Arrays.asList(");
for (java.lang.Object one : (java.util.List<?>) value) { if (text.length() > 2000) break;
text.append(text.length() == 14 ? "" : ", ").append(shown(one, depth + 1)); }
return text.append(")").toString(); }
return java.lang.String.valueOf(value);
}
}
"""


def source(bodies: Sequence[str], *, package: str | None, file: str, seconds: float) -> str:
    """The harness's text.

    Args:
        bodies: statements of Java, one line for each test; ``call`` is the test's `Call`.
        package: the program's package.
        file: the program's file, whose lines are named in errors.
        seconds: time for one test, after which the next one begins.
    """
    cases = "\n".join(f"case {index}: {body} break;" for index, body in enumerate(bodies))
    given = {"HARNESS": NAME, "COUNT": len(bodies), "MILLISECONDS": int(1000 * seconds), "FILE": file, "CASES": cases}
    text = re.sub(r"\b(HARNESS|COUNT|MILLISECONDS|FILE|CASES)\b", lambda found: str(given[found[1]]), _SOURCE)
    return head(package) + text


def head(package: str | None) -> str:
    """One line with the package and the imports of a test."""
    return (f"package {package};" if package else "") + "".join(f"import {name};" for name in IMPORTS) + "\n"


def said(output: str, token: str) -> dict[int, dict[str, Any]]:
    """Results of the harness, by number of the test; lines without its token were written by the program."""
    found: dict[int, dict[str, Any]] = {}
    for line in output.splitlines():
        if line.startswith(f"{token} "):
            _, number, kind, *text = line.split(" ", 3)
            found[int(number)] = {"kind": kind, "text": json.loads(f'"{_quoted(text[0])}"') if text else ""}
    return found


def _quoted(text: str) -> str:
    """The line's text as the inside of a text of JSON: its escapes of characters are those of JSON."""
    return text.replace('"', '\\"')
