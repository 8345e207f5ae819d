"""Java as a language of generated programs: reading answers, prompts and tests."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.procedures.examples import FENCED, MOST, NAMED, Test, after_separator, closing, first_literal
from agent.procedures.java_tests import IMPORT, LITERAL, java_test_file, scenario_class
from agent.procedures.procedure import Unusable
from agent.procedures.wanted import CLASS, Kind, Wanted, is_program
from tools.java_text import all_types, main_type, masked, package_of, top_types, without_package

_METHOD = re.compile(
    r"^[ \t]*(?:(?:public|private|protected|static|final)\s+)*[\w<>\[\], ?.]+\s+(\w+)\s*\(([^()]*)\)[^;{]*\{", re.M
)
_HEADER = re.compile(
    r"`((?:(?:public|private|protected|static|final|synchronized)\s+)*)([\w<>\[\], ?.]+?)\s+(\w+)\s*\([^()`]*\)"
    r"(?:\s*throws [\w, .]+)?[;{ ]*`"
)
"""A method's header in a sentence: modifiers, type and name."""
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_HOMES = {
    "java.util.*": r"\b(?:List|Map|Set|Queue|Deque|ArrayList|LinkedList|HashMap|TreeMap|LinkedHashMap|HashSet|TreeSet|"
    r"LinkedHashSet|ArrayDeque|PriorityQueue|Stack|Arrays|Collections|Optional|Objects|Iterator|Random|Scanner|"
    r"StringJoiner|Base64|UUID|BitSet|Comparator|Collection)\b",
    "java.util.stream.*": r"\b(?:Collectors|Stream|IntStream|LongStream|DoubleStream)\b",
    "java.util.function.*": r"\b(?:Function|BiFunction|Predicate|Supplier|Consumer|UnaryOperator|BinaryOperator)\b",
    "java.math.*": r"\b(?:BigInteger|BigDecimal|RoundingMode)\b",
    "java.util.regex.*": r"\b(?:Pattern|Matcher|PatternSyntaxException)\b",
    "java.util.concurrent.*": r"\b(?:ConcurrentHashMap|ConcurrentMap|ConcurrentLinkedQueue|CopyOnWriteArrayList|"
    r"Executors|ExecutorService|TimeUnit|CountDownLatch|Callable|Future|CompletableFuture|Semaphore|ThreadLocalRandom|"
    r"BlockingQueue|LinkedBlockingQueue)\b",
    "java.util.concurrent.atomic.*": r"\b(?:AtomicInteger|AtomicLong|AtomicBoolean|AtomicReference)\b",
    "java.util.concurrent.locks.*": r"\b(?:Lock|ReentrantLock|ReadWriteLock|ReentrantReadWriteLock)\b",
    "java.io.*": r"\b(?:File|IOException|UncheckedIOException|InputStream|OutputStream|BufferedReader|BufferedWriter|"
    r"InputStreamReader|FileReader|FileWriter|FileInputStream|FileOutputStream|FileNotFoundException|StringReader|"
    r"StringWriter|PrintWriter|PrintStream|ByteArrayInputStream|ByteArrayOutputStream|Serializable|Reader|Writer)\b",
    "java.nio.file.*": r"\b(?:Path|Paths|Files|InvalidPathException|StandardOpenOption|StandardCopyOption)\b",
    "java.nio.charset.*": r"\b(?:StandardCharsets|Charset)\b",
    "java.security.*": r"\b(?:SecureRandom|MessageDigest|NoSuchAlgorithmException|GeneralSecurityException)\b",
    "javax.crypto.*": r"\b(?:Mac|Cipher|KeyGenerator|SecretKey|SecretKeyFactory)\b",
    "javax.crypto.spec.*": r"\b(?:SecretKeySpec|GCMParameterSpec|IvParameterSpec|PBEKeySpec)\b",
    "java.net.*": r"\b(?:URI|URL|URISyntaxException|MalformedURLException|URLEncoder|URLDecoder|InetAddress)\b",
    "java.time.*": r"\b(?:LocalDate|LocalDateTime|LocalTime|Duration|Instant|ZonedDateTime|Period|DayOfWeek|ZoneId)\b",
    "java.time.format.*": r"\b(?:DateTimeFormatter|DateTimeParseException)\b",
    "java.sql.*": r"\b(?:Connection|PreparedStatement|ResultSet|SQLException|DriverManager)\b",
}
"""Packages by the classes in them that programs use most."""
_NAMED = re.compile(r"\bmethods?\s+`(?:[\w.<>\[\], ?]+\s)?(\w+)\s*\(")
"""A method that a sentence names by its header."""
_FAILS = re.compile(r"\bcheck\(|\bthrow\s+new\s")
_ASSERT = re.compile(r"\bassert\s+([^;:]+?)(?:\s:[^;]+)?;")
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
            imports, code = IMPORT.findall(code), IMPORT.sub("", code)
            code = "\n".join(f"import {name};" for name in imports) + f"\nclass Solution {{\n{code.rstrip()}\n}}\n"
        code = code if self.wanted(prompt, None).kind is Kind.PROGRAM else _without_main(code)
        known = _imports(code)
        wanted = [*(_imports(prompt) if self.is_stub(prompt) else []), *_homes(code)]
        missing = [name for name in dict.fromkeys(wanted) if name not in known and name != "java.lang.*"]
        head = f"package {package};\n\n" if package else ""
        return head + "".join(f"import {name};\n" for name in missing) + code.strip("\n") + "\n"

    def entry(self, prompt: str, signature: str | None) -> str | None:
        if signature is not None and (found := re.search(r"(\w+)\s*\(", signature)):
            return found[1]
        if self.is_stub(prompt):
            return str(_METHOD.findall(_COMMENT.sub("", prompt))[-1][0])
        named, headers = _NAMED.search(prompt) or NAMED.search(prompt), _headers(prompt)
        if named is None and len(headers) == 1 and not headers[0].void:
            return headers[0].name
        return named[1] if named and len(headers) < 2 else None

    def wanted(self, prompt: str, signature: str | None) -> Wanted:
        entry, named = self.entry(prompt, signature), CLASS.search(prompt)
        names = ([named[1]] if named else []) + [one.name for one in _headers(prompt)]
        if entry is not None:
            stub = signature is not None or self.is_stub(prompt)
            return Wanted(Kind.FUNCTION, entry, (entry,) if stub else tuple(dict.fromkeys([*names, entry])))
        if named is not None:
            return Wanted(Kind.CLASS, named[1], tuple(names))
        return Wanted(Kind.PROGRAM if is_program(prompt) else Kind.FUNCTION, None, tuple(names))

    def missing(self, code: str, names: Sequence[str]) -> str | None:
        text = masked(code)  # a record declares methods without writing them as such, so any mention will do
        return next((name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)), None)

    def mistyped(self, header: str | None, results: Sequence[tuple[str, str]]) -> str | None:
        return None  # the compiler checks types

    def defined(self, code: str) -> str | None:
        types = {one.name for one in all_types(code)}  # a record's head looks like a method's, and so do constructors
        names = [name for name, _ in _METHOD.findall(code) if name != "main" and name not in types]
        return names[0] if names else None

    def is_stub(self, prompt: str) -> bool:
        code = _COMMENT.sub("", prompt)  # sentences of a comment can look like the head of a method
        return bool(re.search(r"\bclass\s+\w+[^{;]*\{", code) and _METHOD.search(code))

    def header(self, prompt: str) -> str | None:
        """The class as far as the method that is left to be completed, or that a sentence gives by its header."""
        if self.is_stub(prompt):
            text = _COMMENT.sub("", prompt[top_types(prompt)[0].start :])
            return "\n".join(line for line in text.splitlines() if line.strip())
        found, named = list(_HEADER.finditer(prompt)), CLASS.search(prompt)
        if len(found) != 1 or self.wanted(prompt, None).kind is not Kind.FUNCTION:
            return None
        return f"class {named[1] if named else 'Solution'} {{\n    {found[0][0].strip('`;{ ')} {{"

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

    def scenario_opening(self, made: str | None) -> str:
        return f"```java\n{made} one = new {made}(" if made else "```java\n"

    def parsed_test(self, line: str, entry: str) -> Test | None:
        for call, after in _calls(line, entry):
            text = after_separator(after)
            expected = None if text is None else _expected(text)
            return None if expected is None else (call, expected)
        return None

    def scenario(self, answer: str, entry: str) -> str:
        """A class ``Main`` with the statements that a model wrote, which fail by ``check``. Raises Unusable."""
        block = next((body for _, body in FENCED.findall(answer)), answer)
        found = _MAIN.search(block)
        body = block[block.find("{", found.end()) + 1 :] if found else IMPORT.sub("", block)
        body = _ASSERT.sub(r"check(\1, true);", _statements(body))  # the machine ignores assertions
        if not re.search(rf"\b{re.escape(entry)}\b", body) or not _FAILS.search(body):
            raise Unusable(f"the test does not use {entry}, or never fails")
        return "".join(f"{found[0].strip()}\n" for found in IMPORT.finditer(block)) + scenario_class(body)

    def test_file(self, tests: Sequence[Test], scenarios: Sequence[str], entry: str | None, code: str) -> str:
        """A class whose ``main`` throws if a test fails; empty if no expected value can be written as a literal."""
        return java_test_file(tests, scenarios, entry, code)


@dataclass(frozen=True)
class _Header:
    """A method's header that a sentence gives."""

    name: str
    void: bool


def _headers(prompt: str) -> list[_Header]:
    found = [(kind.split()[-1], name) for _, kind, name in _HEADER.findall(prompt)]
    return [_Header(name, kind == "void") for kind, name in found if kind not in ("new", "return", "throw")]


def _calls(text: str, entry: str) -> Iterator[Test]:
    """Calls with literals in a text, each with the text after it. They may name the type, or make an object of it."""
    for match in re.finditer(rf"(?<![\w.])(?:(?:new\s+\w+\(([^()]*)\)|[A-Z]\w*)\.)?{re.escape(entry)}\(", text):
        end = closing(text, match.end())
        if end is None:
            continue
        if all(map(_is_literal, (text[match.end() : end - 1], match[1] or ""))):
            yield " ".join(text[match.start() : end].split()), text[end:]


def _statements(body: str) -> str:
    """The whole statements at the beginning of a text, which may be cut off, or go on with the end of a method."""
    text, depth, end = masked(body), 0, 0
    for index, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            break
        if depth == 0 and sign in ";}":
            end = index + 1
    return body[:end]


def _is_literal(text: str) -> bool:
    return bool(LITERAL.fullmatch(text)) and "[" not in text.replace("[]", "")


def _expected(text: str) -> str | None:
    """The literal that a text begins with, as an expression of Java."""
    text = text.lstrip("` ")
    java = re.match(
        r"(?:Arrays\.asList|List\.of|Set\.of|Map\.of|Optional\.of|Optional\.empty|new\s+[\w<>\[\]]+)\s*[({]", text
    )
    if java:
        end = closing(text, java.end())
        return text[:end] if end and LITERAL.fullmatch(text[:end]) else None
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
    return IMPORT.findall(code)


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
        imports += [found[0].strip() for found in IMPORT.finditer(block)]
        bodies.append(IMPORT.sub("", block).strip("\n"))
    code = "\n\n".join(bodies)
    for other in reversed([one for one in top_types(code) if one.public][1:]):
        code = code[: other.start] + code[other.start :].replace("public ", "", 1)
    head = [f"package {package};"] if package else []
    return "\n".join([*head, *dict.fromkeys(imports), code]) if code else ""


def _homes(code: str) -> list[str]:
    """Packages whose classes a program uses without importing them by name."""
    body, own = masked(IMPORT.sub("", code)), {one.name for one in all_types(code)}
    named = own | {name.rpartition(".")[2] for name in _imports(code)}
    return [home for home, pattern in _HOMES.items() if set(re.findall(pattern, body)) - named]


def _without_main(code: str) -> str:
    """The program without ``main``, which would only show how it is used, unless it has nothing else."""
    found = re.search(r"^[ \t]*public\s+static\s+void\s+main\s*\([^)]*\)[^{]*\{", code, re.M)
    if found is None or len(_METHOD.findall(code)) < 2:
        return code
    end = closing(code, found.end())
    return code if end is None else code[: found.start()].rstrip() + "\n" + code[end:].lstrip("\n")
