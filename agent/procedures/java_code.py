"""Java as a language of generated programs: reading answers, prompts and tests."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence

from agent.procedures.examples import FENCED, MOST, NAMED, Test, after_separator, closing, first_literal
from agent.procedures.procedure import Unusable
from tools.java_text import all_types, main_type, package_of, receiver_of, top_types, without_package

_METHOD = re.compile(
    r"^[ \t]*(?:(?:public|private|protected|static|final)\s+)*[\w<>\[\], ?.]+\s+(\w+)\s*\(([^()]*)\)[^;{]*\{", re.M
)
_LITERAL = re.compile(
    r"""(?x)(?:
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)+' | -?\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?[LlFfDd]? | true | false | null
    | (?:Arrays\.asList|List\.of|Set\.of|Map\.of|Optional\.of|Optional\.empty) | new\s+[\w<>\[\], ]+ | [(){}\[\],\s-]
    )*"""
)
_HOMES = {
    "java.util.*": r"\b(?:List|Map|Set|Queue|Deque|ArrayList|LinkedList|HashMap|TreeMap|LinkedHashMap|HashSet|TreeSet|"
    r"LinkedHashSet|ArrayDeque|PriorityQueue|Stack|Arrays|Collections|Optional|Objects|Iterator|Random|Scanner|"
    r"StringJoiner|Base64|UUID|BitSet|Comparator|Collection)\b",
    "java.util.stream.*": r"\b(?:Collectors|Stream|IntStream|LongStream|DoubleStream)\b",
    "java.util.function.*": r"\b(?:Function|BiFunction|Predicate|Supplier|Consumer|UnaryOperator|BinaryOperator)\b",
    "java.math.*": r"\b(?:BigInteger|BigDecimal|RoundingMode)\b",
}
_IMPORT = re.compile(r"^[ \t]*import\s+(?:static\s+)?([\w.]+(?:\.\*)?)\s*;[ \t]*\n?", re.M)
_NAMED = re.compile(r"\bmethods?\s+`(?:[\w.<>\[\], ?]+\s)?(\w+)\s*\(")
"""A method that a sentence names by its header."""
_MAIN = re.compile(r"\bstatic\s+void\s+main\s*\(")


class JavaCode:
    """Reads what a model writes in Java."""

    name = "java"

    def file(self, code: str) -> str:
        return f"{main_type(code)}.java"

    def tests_file(self, code: str) -> str:
        return f"{main_type(code)}Test.java"

    def program(self, answer: str, prompt: str) -> str:
        """The program in an answer: a class, around a lone method too, with the imports that it needs.

        Raises:
            Unusable: the answer has no program.
        """
        blocks = [body for kind, body in FENCED.findall(answer) if kind.lower() in ("", "java")]
        code = _one_file(blocks) or (blocks or [answer])[0]
        package, code = package_of(code), without_package(code)
        if not top_types(code):
            if not _METHOD.search(code):
                raise Unusable("the answer contains no program")
            imports, code = _IMPORT.findall(code), _IMPORT.sub("", code)
            code = "\n".join(f"import {name};" for name in imports) + f"\nclass Solution {{\n{code.rstrip()}\n}}\n"
        code = _without_main(code)
        known = _imports(code)
        wanted = [*(_imports(prompt) if self.is_stub(prompt) else []), *_homes(code)]
        missing = [name for name in dict.fromkeys(wanted) if name not in known and name != "java.lang.*"]
        head = f"package {package};\n\n" if package else ""
        return head + "".join(f"import {name};\n" for name in missing) + code.strip("\n") + "\n"

    def entry(self, prompt: str, signature: str | None) -> str | None:
        if signature is not None and (found := re.search(r"(\w+)\s*\(", signature)):
            return found[1]
        if self.is_stub(prompt):
            return str(_METHOD.findall(prompt)[-1][0])
        named = _NAMED.search(prompt) or NAMED.search(prompt)
        return named[1] if named else None

    def defined(self, code: str) -> str | None:
        types = {one.name for one in all_types(code)}  # a record's head looks like a method's, and so do constructors
        names = [name for name, _ in _METHOD.findall(code) if name != "main" and name not in types]
        return names[0] if names else None

    def is_stub(self, prompt: str) -> bool:
        return bool(re.search(r"\bclass\s+\w+[^{;]*\{", prompt) and _METHOD.search(prompt))

    def header(self, prompt: str) -> str | None:
        return None  # a Java prompt's method stands in a class, which the answer has to repeat

    def examples(self, prompt: str, entry: str) -> list[Test]:
        found: dict[str, str] = {}
        for call, after in _calls(prompt, entry):
            text = after_separator(after)
            expected = None if text is None else _expected(text)
            if expected is not None:
                found.setdefault(call, expected)
        return list(found.items())[:MOST]

    def test_form(self, entry: str) -> str:
        return f"{entry}(...) == ..."

    def test_opening(self, entry: str) -> str:
        return f"```java\n{entry}("

    def parsed_test(self, line: str, entry: str) -> Test | None:
        for call, after in _calls(line, entry):
            text = after_separator(after)
            expected = None if text is None else _expected(text)
            return None if expected is None else (call, expected)
        return None

    def scenario(self, answer: str, entry: str) -> str:
        raise Unusable("tests made of statements are not written in Java")

    def test_file(self, tests: Sequence[Test], scenarios: Sequence[str], entry: str | None, code: str) -> str:
        """A class whose ``main`` throws if a test fails; empty if no expected value can be written as a literal."""
        package, target = package_of(code), receiver_of(code, entry or "")
        kept = [(call, expected) for call, expected in tests if _LITERAL.fullmatch(expected)]
        if not kept:
            return ""
        calls = [call if entry and not call.startswith(f"{entry}(") else f"{target}.{call}" for call, _ in kept]
        lines = [f"        check({call}, {expected});" for call, (_, expected) in zip(calls, kept, strict=True)]
        return "\n".join(
            [
                *([f"package {package};", ""] if package else []),
                "import java.util.*;",
                "",
                f"class {main_type(code)}Test {{",
                "    public static void main(String[] arguments) throws Exception {",
                *lines,
                "    }",
                "",
                "    static void check(Object value, Object expected) {",
                "        if (!same(value, expected)) {",
                '            throw new AssertionError(value + " is not " + expected);',
                "        }",
                "    }",
                "",
                "    static boolean same(Object value, Object expected) {",
                "        if (value instanceof Number && expected instanceof Number) {",
                "            double one = ((Number) value).doubleValue(), other = ((Number) expected).doubleValue();",
                "            return one == other || Math.abs(one - other) <= 1e-6 * Math.max(1, Math.abs(one));",
                "        }",
                "        return Objects.deepEquals(value, expected);",
                "    }",
                "}",
                "",
            ]
        )


def _calls(text: str, entry: str) -> Iterator[Test]:
    """Calls with literals in a text, each with the text after it. They may name the type, or make an object of it."""
    for match in re.finditer(rf"(?<![\w.])(?:(?:new\s+\w+\(([^()]*)\)|[A-Z]\w*)\.)?{re.escape(entry)}\(", text):
        end = closing(text, match.end())
        if end is None:
            continue
        if all(map(_is_literal, (text[match.end() : end - 1], match[1] or ""))):
            yield " ".join(text[match.start() : end].split()), text[end:]


def _is_literal(text: str) -> bool:
    return bool(_LITERAL.fullmatch(text)) and "[" not in text.replace("[]", "")


def _expected(text: str) -> str | None:
    """The literal that a text begins with, as an expression of Java."""
    text = text.lstrip("` ")
    java = re.match(
        r"(?:Arrays\.asList|List\.of|Set\.of|Map\.of|Optional\.of|Optional\.empty|new\s+[\w<>\[\]]+)\s*[({]", text
    )
    if java:
        end = closing(text, java.end())
        return text[:end] if end and _LITERAL.fullmatch(text[:end]) else None
    if word := re.match(r"(?:true|false|null)\b", text):
        return word[0]
    if number := re.match(r"-?\d+[Ll]\b", text):
        return number[0]
    literal = first_literal(text)
    return None if literal is None else _as_java(ast.literal_eval(literal))


def _as_java(value: object) -> str | None:
    """A Python literal as an expression of Java."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < 2**31 else f"{value}L"
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            parts = [_as_java(one) for one in value]
            return None if None in parts else f"Arrays.asList({', '.join(map(str, parts))})"
    return None


def _imports(code: str) -> list[str]:
    return _IMPORT.findall(code)


def _one_file(blocks: Sequence[str]) -> str:
    """The types of several blocks, which a model takes for several files, as one file. Only one type may be public."""
    package: str | None = None
    imports: list[str] = []
    bodies: list[str] = []
    known: set[str] = set()
    for block in blocks:
        own = top_types(block)
        if not own or {one.name for one in own} <= known or (known and _MAIN.search(block)):
            continue  # no program, or another version of one, or an example of its use
        package = package or package_of(block)
        known |= {one.name for one in own}
        block = without_package(block)
        imports += [found[0].strip() for found in _IMPORT.finditer(block)]
        bodies.append(_IMPORT.sub("", block).strip("\n"))
    code = "\n\n".join(bodies)
    for other in reversed([one for one in top_types(code) if one.public][1:]):
        code = code[: other.start] + code[other.start :].replace("public ", "", 1)
    head = [f"package {package};"] if package else []
    return "\n".join([*head, *dict.fromkeys(imports), code]) if code else ""


def _homes(code: str) -> list[str]:
    """Packages whose classes a program uses without importing them by name."""
    body = _IMPORT.sub("", code)
    named = {name.rpartition(".")[2] for name in _imports(code)}
    return [home for home, pattern in _HOMES.items() if set(re.findall(pattern, body)) - named]


def _without_main(code: str) -> str:
    """The program without ``main``, which would only show how it is used, unless it has nothing else."""
    found = re.search(r"^[ \t]*public\s+static\s+void\s+main\s*\([^)]*\)[^{]*\{", code, re.M)
    if found is None or len(_METHOD.findall(code)) < 2:
        return code
    end = closing(code, found.end())
    return code if end is None else code[: found.start()].rstrip() + "\n" + code[end:].lstrip("\n")
