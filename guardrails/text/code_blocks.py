"""Blocks of code in a text: fenced as in Markdown (CommonMark 0.31, section 4.5), and their language."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent>[ \t>]{0,40}(?:[-*+][ \t]+|\d{1,3}[.)][ \t]+)?)(?P<mark>`{3,}|~{3,})(?P<info>.*)$")
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?: (.*)|)$")
_UNLABELLED = ("", "text", "txt", "plain", "plaintext", "code", "none")
_JAVA = re.compile(
    r"^\s*import\s+(?:static\s+)?[\w.]+(?:\.\*)?;"
    r"|^\s*package\s+[\w.]+;"
    r"|\b(?:public|private|protected)\s+[\w<>\[\], ]+[({]"
    r"|\bclass\s+\w+[^:\n]*\{"
    r"|\bnew\s+\w+[<(].*;\s*$"
    r"|^\s*(?:String|int|var|final)\s+\w+\s*=.*;\s*$",
    re.MULTILINE,
)
_PYTHON = re.compile(
    r"^\s*(?:async\s+)?def\s+\w+\s*\("
    r"|^\s*(?:from\s+[\w.]+\s+)?import\s+[\w., ]+$"
    r"|^\s*class\s+\w+.*:\s*$"
    r"|^\s*(?:if|for|while|with|try|elif|else|except)\b.*:\s*$"
    r"|^\s*@\w+"
    r"|^\s*[\w.]+(?:\[.*\])?\s*=\s*[^=\s].*[^;{\s]\s*$"
    r"|^\s*[\w.]+\(.*\)\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class CodeBlock:
    """Characters [start, end) of a text that are code, and the code ready to be read."""

    start: int
    end: int
    language: str
    """``python`` or ``java``."""
    code: str


def code_blocks(text: str, unlabelled: str | None = None) -> list[CodeBlock]:
    """The fenced blocks of Python and Java. A block that is not closed ends with the text.

    Args:
        unlabelled: language of blocks that name none; None: guess it.
    """
    found = []
    for start, end, info in _fenced(text):
        body = text[start:end]
        language = _language(info, body, unlabelled)
        if language is not None and body.strip():
            found.append(CodeBlock(start, end, language, plain_code(body)))
    return found


def _fenced(text: str) -> Iterator[tuple[int, int, str]]:
    """Triples: where a block's content starts and ends, and what follows its opening fence."""
    at, start, mark, info = 0, None, "", ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line.rstrip("\r\n"))
        if start is None:
            if match and not ("`" in match["info"] and match["mark"][0] == "`"):
                start, mark, info = at + len(line), match["mark"], match["info"]
        elif match and match["mark"][0] == mark[0] and len(match["mark"]) >= len(mark) and not match["info"].strip():
            yield start, at, info
            start = None
        at += len(line)
    if start is not None:
        yield min(start, at), at, info


def _language(info: str, body: str, unlabelled: str | None) -> str | None:
    words = re.findall(r"[\w+#-]+", info.lower())
    name = words[0] if words else ""
    if name.startswith(("python", "ipython")) or name in ("py", "py3", "pycon", "sage"):
        return "python"
    if name == "java" or name == "jshell":
        return "java"
    return (unlabelled or guessed_language(body)) if name in _UNLABELLED else None


def guessed_language(code: str) -> str | None:
    """The language that more lines look like; None if no line looks like Python or Java."""
    sample = code[:20_000]
    java, python = len(_JAVA.findall(sample)), len(_PYTHON.findall(sample))
    if not java and not python:
        return None
    return "java" if java >= python else "python"


def plain_code(body: str) -> str:
    """Code without quotation marks and indentation of the text around it, and without an interpreter's prompts."""
    lines = body.splitlines()
    if lines and all(line.lstrip().startswith(">") and not line.lstrip().startswith(">>>") for line in lines if line):
        lines = [line.lstrip()[1:].removeprefix(" ") for line in lines]
    if any(line.lstrip().startswith(">>>") for line in lines):
        lines = [match[1] or "" for line in lines if (match := _PROMPT.match(line))]
    return textwrap.dedent("\n".join(lines)) + "\n"
