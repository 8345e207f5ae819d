"""Imports of packages that nobody declared: invented names are how strangers' packages get into a program.

A model may write an import of a package that does not exist, and somebody may register that name ("slopsquatting").
A lock file says which packages a program has. An index of packages is asked only if a caller passes one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import httpx

from tools.codescan.finding import Finding, Language, Severity
from tools.codescan.java_source import java_tree
from tools.codescan.limits import Budget, ScanLimits
from tools.codescan.node import Kind, Node
from tools.codescan.python_source import parse_python, python_tree

PackageIndex = Callable[[str], Awaitable[bool]]
"""Maps a package's name to whether the index has it."""
CWE = 1357
LOCK_BYTES = 5_000_000
OTHER_NAMES = {
    "PIL": "pillow", "yaml": "pyyaml", "cv2": "opencv-python", "sklearn": "scikit-learn", "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil", "jwt": "pyjwt", "dotenv": "python-dotenv", "Crypto": "pycryptodome",
    "OpenSSL": "pyopenssl", "serial": "pyserial", "git": "gitpython", "attr": "attrs", "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient", "ldap": "python-ldap", "docx": "python-docx", "jose": "python-jose", "fitz": "pymupdf",
    "zmq": "pyzmq", "pkg_resources": "setuptools", "grpc": "grpcio", "skimage": "scikit-image",
    "magic": "python-magic", "socks": "pysocks", "telegram": "python-telegram-bot", "win32api": "pywin32",
    "stdnum": "python-stdnum", "kafka": "kafka-python", "usb": "pyusb", "google": "protobuf", "nacl": "pynacl",
    "rest_framework": "djangorestframework", "ruamel": "ruamel-yaml",
}  # fmt: skip
"""Import names that differ from the name of their package."""
_JDK = ("java.", "javax.", "jdk.", "org.w3c.dom", "org.xml.sax", "org.ietf.jgss", "com.sun.net.httpserver")
_PYTHON_LOCK = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?:[=<>~!@;]|$)", re.MULTILINE)
_TOML_LOCK = re.compile(r'^name\s*=\s*"([^"]+)"', re.MULTILINE)
_JAVA_LOCK = re.compile(
    r"<groupId>\s*([\w.-]+)\s*</groupId>"  # pom.xml
    r"|['\"]([\w.-]+):[\w.-]+(?::[^'\"]*)?['\"]"  # build.gradle
    r"|^([\w.-]+):[\w.-]+:",  # gradle.lockfile
    re.MULTILINE,
)


@dataclass(frozen=True)
class Dependencies:
    """Packages that a program has. ``packages``: normalised names (Python) or group ids (Java)."""

    language: Language
    packages: frozenset[str]
    local: frozenset[str] = frozenset()
    """The program's own modules or packages."""

    @staticmethod
    def of_lock(path: Path, language: Language, local: Iterable[str] = ()) -> Dependencies:
        """Reads a lock file: requirements or constraints, uv.lock, poetry.lock; pom.xml, a Gradle file or lock.

        Raises:
            OSError: the file can't be read, or is longer than 5 MB.
        """
        if path.stat().st_size > LOCK_BYTES:
            raise OSError(f"{path}: more than {LOCK_BYTES} bytes; name the lock file itself")
        text = path.read_text(encoding="utf-8", errors="replace")
        if language is Language.JAVA:
            groups = {group for match in _JAVA_LOCK.findall(text) for group in match if group}
            return Dependencies(language, frozenset(groups), frozenset(local))
        names = _TOML_LOCK.findall(text) if path.suffix in (".lock", ".toml") else _PYTHON_LOCK.findall(text)
        return Dependencies(language, frozenset(map(_normalised, names)), frozenset(local))

    def knows(self, name: str) -> bool:
        """Whether an imported name is part of the language, of the program, or of a declared package."""
        if self.language is Language.JAVA:
            own = any(name == one or name.startswith(f"{one}.") for one in self.local)
            return own or name.startswith(_JDK) or any(_same_group(name, group) for group in self.packages)
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in self.local or top == "__future__":
            return True
        known = {_normalised(top), _normalised(OTHER_NAMES.get(top, top))}
        return bool(known & self.packages) or any(one.startswith(f"{_normalised(top)}-") for one in self.packages)


def unknown_imports(text: str, dependencies: Dependencies, file: str = "<text>") -> list[Finding]:
    """A finding for each import that the dependencies don't know.

    Raises:
        NotExamined: the text can't be read.
    """
    found: dict[str, Finding] = {}
    for node in _tree(text, dependencies.language).walk():
        if node.kind is Kind.IMPORT and node.name.strip(".") and not node.name.startswith("."):
            name = node.name if dependencies.language is Language.JAVA else node.name.partition(".")[0]
            if not dependencies.knows(node.name):
                found.setdefault(name, _finding(name, node.line, dependencies, file))
    return list(found.values())


async def ask_index(findings: Iterable[Finding], index: PackageIndex) -> list[Finding]:
    """The findings, those of high severity whose package the index doesn't have."""
    asked = []
    for finding in findings:
        name = finding.reason.partition(" ")[0]
        if not await index(_normalised(OTHER_NAMES.get(name, name))):
            reason = f"{name} is not in the package index: the name may be invented, and anybody can register it."
            finding = replace(finding, severity=Severity.HIGH, reason=reason)
        asked.append(finding)
    return asked


def simple_index(url: str, timeout_s: float = 5.0) -> PackageIndex:
    """An index with the simple repository API (PEP 503) at a URL. It raises httpx.HTTPError when it can't be asked."""

    async def has(name: str) -> bool:
        async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=True) as client:
            answer = await client.get(f"{url.rstrip('/')}/{name}/")
        if answer.status_code == 404:
            return False
        answer.raise_for_status()
        return True

    return has


def _tree(text: str, language: Language) -> Node:
    budget = Budget(ScanLimits())
    return java_tree(text, budget)[0] if language is Language.JAVA else python_tree(parse_python(text), budget)


def _finding(name: str, line: int, dependencies: Dependencies, file: str) -> Finding:
    close = get_close_matches(_normalised(name), dependencies.packages, n=1, cutoff=0.75)
    hint = f" It is close to {close[0]}." if close else ""
    return Finding(
        f"{dependencies.language}.unknown-dependency",
        CWE,
        Severity.MEDIUM,
        file,
        line,
        f"{name} is neither part of the language nor a declared dependency.{hint}",
        "Check that the package is the one you mean, and declare it; or do without it.",
    )


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _same_group(name: str, group: str) -> bool:
    """Whether a package may come from a Maven group: they share their first two parts, often a domain."""
    short = ".".join(group.split(".")[:2])
    return name == short or name.startswith(f"{short}.")
