"""Checks a program against what was asked of it: imports, network, files, signature, complexity, style.

A program that could reach anything (``eval``, ``ctypes``, a subprocess, an import by a computed name) breaks the
constraints on network and files, whatever it does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tools.codescan.finding import Finding, Language, Report, Severity
from tools.codescan.globs import matches
from tools.codescan.java_source import java_tree
from tools.codescan.limits import Budget, NotExamined, ScanLimits
from tools.codescan.node import Kind, Node
from tools.codescan.python_source import parse_python, python_tree
from tools.codescan.signature import signature_problem
from tools.codescan.style import style_problems

_NETWORK = {
    Language.PYTHON: ("socket*", "ssl*", "urllib.request*", "urllib3*", "http.client*", "http.server*", "httpx*",
                      "requests*", "aiohttp*", "ftplib*", "smtplib*", "poplib*", "imaplib*", "telnetlib*", "nntplib*",
                      "xmlrpc*", "socketserver*", "asyncio.open_connection", "asyncio.start_server", "paramiko*",
                      "websockets*", "webbrowser*", "*.create_connection", "*.create_server", "redis*", "pymongo*",
                      "psycopg*", "grpc*", "http.cookiejar*", "multiprocessing.connection*"),
    Language.JAVA: ("java.net.*", "java.nio.channels.*", "javax.net.*", "java.rmi.*", "javax.mail.*", "java.sql.*",
                    "new Socket", "new ServerSocket", "new URL", "HttpClient.*", "*.openConnection", "*.openStream",
                    "org.apache.http*", "okhttp3.*", "javax.naming.*", "new DatagramSocket", "SocketChannel.*",
                    "com.sun.net.*"),
}  # fmt: skip
_FILES = {
    Language.PYTHON: ("open", "io.open", "io.FileIO", "os.open", "os.remove", "os.unlink", "os.rename", "os.mkdir",
                      "os.makedirs", "os.rmdir", "os.listdir", "os.scandir", "os.walk", "os.chmod", "os.stat",
                      "os.replace", "os.link", "os.symlink", "os.path.exists", "os.path.getsize", "shutil*",
                      "tempfile*",
                      "pathlib*", "glob*", "fileinput*", "sqlite3*", "shelve*", "dbm*", "mmap*", "zipfile*",
                      "tarfile*",
                      "gzip.open", "bz2.open", "lzma.open", "codecs.open", "*.read_text", "*.write_text",
                      "*.read_bytes", "*.write_bytes", "linecache*", "os.fdopen", "os.truncate", "builtins.open"),
    Language.JAVA: ("java.io.File*", "java.nio.file.*", "java.io.RandomAccessFile", "new File*", "Files.*", "Paths.*",
                    "Path.of", "new RandomAccessFile", "java.util.zip.ZipFile", "new ZipFile", "FileChannel.*",
                    "new PrintWriter", "java.util.jar.*"),
}  # fmt: skip
_ANYTHING = {
    Language.PYTHON: ("eval", "exec", "compile", "__import__", "builtins.*", "__builtins__*", "importlib*", "ctypes*",
                      "cffi*", "subprocess*", "os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*",
                      "os.fork*", "pty*", "runpy*", "code.*", "*.__subclasses__", "globals", "multiprocessing*",
                      "pickle*", "marshal*", "asyncio.create_subprocess*", "sys.modules*", "_posixsubprocess*",
                      "posix*",
                      "asyncio.subprocess*", "_io*", "pkgutil*"),
    Language.JAVA: ("Runtime.*", "*.exec", "new ProcessBuilder", "Class.forName", "*.loadClass", "java.lang.reflect.*",
                    "java.lang.invoke.*", "System.load*", "Runtime.load*", "sun.*", "jdk.*", "javax.script.*",
                    "*.getDeclaredMethod", "*.getMethod", "java.lang.foreign.*", "new ObjectInputStream",
                    "java.io.ObjectInputStream", "java.lang.ProcessBuilder", "java.lang.Runtime", "javax.tools.*"),
}  # fmt: skip
_FIX = {
    "import": "Use the allowed modules only.",
    "network": "Take the data as an argument.",
    "files": "Take the content as an argument, and return the result.",
    "signature": "Define the function exactly as asked for.",
    "complexity": "Split the function.",
    "style": "Write it in the language's usual style.",
}
_SEVERITY = {"complexity": Severity.MEDIUM, "style": Severity.LOW}


@dataclass(frozen=True)
class Constraints:
    """Constraints on a program. The defaults allow everything."""

    imports: frozenset[str] | None = None
    """Modules (Python) or packages (Java) that it may import, with what lies below them; None: any."""
    network: bool = True
    files: bool = True
    signature: str | None = None
    """A function that it must define, as its first line: ``def solve(items: list[int]) -> int``."""
    max_complexity: int | None = None
    """Largest cyclomatic complexity of a function (McCabe, 1976): decisions plus one."""
    max_line: int | None = None
    style: bool = False
    """Names, unused imports and white space by the language's usual style (PEP 8; Java's naming conventions)."""


def check_constraints(text: str, language: Language, constraints: Constraints, file: str = "<text>") -> Report:
    """Finds where a program breaks constraints. Nothing of it is run.

    Returns:
        A report whose findings have rules such as ``constraint.network`` and no CWE. A text that can't be read is an
        error in the report.
    """
    limits = ScanLimits()
    if len(text) > limits.characters:
        return Report(language, file, errors=(f"{len(text)} characters; the limit is {limits.characters}",))
    errors: list[str] = []
    try:
        tree, errors = _tree(text, language, Budget(limits))
        problems = sorted(set(_problems(text, tree, language, constraints)))
    except NotExamined as error:
        return Report(language, file, errors=(str(error),))
    except RecursionError:
        return Report(language, file, errors=("nested too deeply; split the code into functions",))
    findings = [
        Finding(f"constraint.{kind}", None, _SEVERITY.get(kind, Severity.HIGH), file, line, reason, _FIX[kind])
        for line, kind, reason in problems
    ]
    return Report(language, file, tuple(findings), tuple(errors))


def _tree(text: str, language: Language, budget: Budget) -> tuple[Node, list[str]]:
    if language is Language.JAVA:
        return java_tree(text, budget)
    return python_tree(parse_python(text), budget), []


Problem = tuple[int, str, str]
"""Line, kind, reason."""


def _problems(text: str, tree: Node, language: Language, constraints: Constraints) -> Iterator[Problem]:
    if constraints.imports is not None:
        yield from _foreign_imports(tree, language, constraints.imports)
    if not constraints.network:
        yield from _uses(tree, "network", "reaches the network", (*_NETWORK[language], *_ANYTHING[language]))
    if not constraints.files:
        yield from _uses(tree, "files", "reaches files", (*_FILES[language], *_ANYTHING[language]))
    if constraints.signature is not None and (problem := signature_problem(tree, language, constraints.signature)):
        yield problem[0], "signature", problem[1]
    if constraints.max_complexity is not None:
        yield from _complex(tree, constraints.max_complexity)
    if constraints.max_line is not None:
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > constraints.max_line:
                yield number, "style", f"The line has {len(line)} characters; the limit is {constraints.max_line}."
    if constraints.style:
        yield from ((line, "style", reason) for line, reason in style_problems(text, tree, language))


def _foreign_imports(tree: Node, language: Language, allowed: frozenset[str]) -> Iterator[Problem]:
    always = ("java.lang",) if language is Language.JAVA else ("__future__",)
    for node in tree.walk():
        if node.kind is Kind.IMPORT and not _within(node.name, (*allowed, *always)):
            yield node.line, "import", f"{node.name.strip('.')} is not one of the allowed imports."
        elif node.kind is Kind.CALL and node.name in ("__import__", "importlib.import_module"):
            yield node.line, "import", f"{node.name} imports by a name that is computed."


def _within(name: str, allowed: Iterable[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def _uses(tree: Node, kind: str, what: str, patterns: tuple[str, ...]) -> Iterator[Problem]:
    known = tuple(one for pattern in patterns for one in _expanded(pattern))
    for node in tree.walk():
        if node.kind in (Kind.CALL, Kind.IMPORT, Kind.NAME) and node.name and matches(known, (node.name,)):
            yield node.line, kind, f"{node.name} {what}."


def _expanded(pattern: str) -> tuple[str, ...]:
    """``socket*`` stands for the module and what is in it, not for other names that begin alike."""
    module = pattern.removesuffix("*")
    whole = pattern.endswith("*") and not module.endswith((".", "_")) and not module.startswith(("new ", "*"))
    return (module, f"{module}.*") if whole and "." not in module else (pattern,)


def _complex(tree: Node, most: int) -> Iterator[Problem]:
    for node in tree.walk():
        if node.kind is Kind.FUNCTION and (found := complexity(node)) > most:
            yield node.line, "complexity", f"{node.name} has a cyclomatic complexity of {found}; the limit is {most}."


def complexity(function: Node) -> int:
    """Cyclomatic complexity: one, plus one for each decision. Functions inside it count for themselves."""
    total, stack = 1, list(function.body)
    while stack:
        node = stack.pop()
        if node.kind is Kind.FUNCTION:
            continue
        total += _decisions(node)
        stack.extend(node.children())
    return total


def _decisions(node: Node) -> int:
    match node.kind:
        case Kind.IF:
            return max(len(node.parts), len(node.body) - 1)
        case Kind.LOOP | Kind.HANDLER | Kind.ASSERT:
            return 1
        case Kind.COMPREHENSION:
            return len(node.body)
        case Kind.OTHER if node.name in ("and", "or"):
            return len(node.parts) - 1
        case Kind.OTHER if node.name in ("?", "IfExp"):
            return 1
    return 0
