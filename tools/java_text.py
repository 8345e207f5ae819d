"""Reads from a Java program's text what compiling and calling it needs: its package, its types, and their methods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DEFAULT_TYPE = "Solution"
_HIDDEN = re.compile(r'"""(?:\\.|.)*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)
_PACKAGE = re.compile(r"^\s*package\s+([\w.]+)\s*;[ \t]*\n?", re.M)
_TYPE = re.compile(
    r"(?<![\w.])((?:(?:public|protected|private|static|final|abstract|sealed|non-sealed|strictfp)\s+)*)"
    r"(class|interface|enum|record(?=\s+\w+\s*[<(]))\s+(\w+)"
)
_NO_TYPES = {"return", "new", "else", "throw", "assert", "case", "yield", "do"}


@dataclass(frozen=True)
class JavaType:
    """A class, interface, enum or record. ``start`` and ``end`` are positions in the text, with modifiers and body."""

    kind: str
    name: str
    public: bool
    start: int
    body: int
    """Position of the brace that opens its body."""
    end: int

    def holds(self, at: int) -> bool:
        return self.body < at < self.end


def masked(code: str) -> str:
    """The program with texts, characters and comments replaced by spaces, so that its braces can be counted."""
    return _HIDDEN.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), code)


def package_of(code: str) -> str | None:
    found = _PACKAGE.search(masked(code))
    return found[1] if found else None


def without_package(code: str) -> str:
    found = _PACKAGE.search(masked(code))
    return code if found is None else code[: found.start()] + code[found.end() :]


def all_types(code: str) -> list[JavaType]:
    """All types in the order in which they begin, those inside others too."""
    text = masked(code)
    found = []
    for match in _TYPE.finditer(text):
        body = text.find("{", match.end())
        if body >= 0:
            public = "public" in match[1].split()
            found.append(JavaType(match[2], match[3], public, match.start(), body, _closing(text, body)))
    return found


def top_types(code: str) -> list[JavaType]:
    """Types that are not inside others."""
    known = all_types(code)
    return [one for one in known if not any(other.holds(one.start) for other in known)]


def main_type(code: str) -> str:
    """Name of the type after which the program's file is called: the public one, or else the first."""
    types = top_types(code)
    return next((one.name for one in types if one.public), types[0].name if types else DEFAULT_TYPE)


def receiver_of(code: str, method: str) -> str:
    """Receiver of a method call, as an expression: the type that declares the method, or a new object of it."""
    declared = sorted(_declarations(code, method), key=lambda one: (one[0] == "interface", not one[2]))
    if not declared:
        return f"new {main_type(code)}()"
    _, owner, static = declared[0]
    return owner if static else f"new {owner}()"


def _declarations(code: str, method: str) -> Iterator[tuple[str, str, bool]]:
    """Kind and name of each type that declares a method, and whether the method is static."""
    text, known = masked(code), all_types(code)
    for match in re.finditer(rf"([\w>\]]+)\s+{re.escape(method)}\s*\(", text):
        around = [one for one in known if one.holds(match.start())]
        if around and match[1] not in _NO_TYPES:
            head = re.split(r"[;{}]", text[around[-1].body + 1 : match.start()])[-1]
            yield around[-1].kind, ".".join(one.name for one in around), bool(re.search(r"\bstatic\b", head + match[1]))


def _closing(text: str, at: int) -> int:
    """Position of the brace that closes the one at a position; the text's end if there is none."""
    depth = 0
    for index in range(at, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return len(text)
