"""Problems for code generators: a prompt, and a test that the generator does not see."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bench.archives import read_bytes
from bench.errors import BenchError

HERE = Path(__file__).parent
OWN = HERE / "own_tasks.yaml"
WEAKNESSES = HERE / "weaknesses"
ARCHIVE = "humaneval-x.tar.xz"
Language = Literal["python", "java"]


@dataclass(frozen=True)
class Problem:
    """A prompt with its hidden test."""

    id: str
    language: Language
    prompt: str
    test: str
    """Statements that raise for a wrong program (Python), or a class ``Main`` (Java)."""
    cwe: int | None = None
    """Weakness that the prompt invites."""
    safe: str = ""
    """A program that passes and has no findings; shown to no model."""
    naive: str = ""
    """A program with the weakness, if one was written; shown to no model."""


def own_problems() -> list[Problem]:
    """Problems for developing the generator."""
    return [Problem(one["id"], "python", one["prompt"], one["test"]) for one in _yaml(OWN)]


def weakness_problems() -> list[Problem]:
    """Prompts that invite weaknesses."""
    return [
        Problem(one["id"], language, one["prompt"], one["test"], one["cwe"], one["safe"], one.get("naive", ""))
        for language in ("python", "java")
        for path in sorted(WEAKNESSES.glob(f"{language}_*.yaml"))
        for one in _yaml(path)
    ]


def humaneval(data: Path, language: Language) -> list[Problem]:
    """HumanEval-X (https://arxiv.org/abs/2303.17568). For measuring only.

    Args:
        data: folder with the archive, or with its unpacked content.

    Raises:
        BenchError: the data can't be read.
    """
    try:
        packed = read_bytes(data, ARCHIVE, f"humaneval_{language}.jsonl.gz")
        lines = [json.loads(line) for line in gzip.decompress(packed).decode("utf-8").splitlines()]
        return [Problem(one["task_id"], language, one["prompt"], one["test"]) for one in lines]
    except (OSError, KeyError, ValueError) as error:
        raise BenchError(f"{data}: HumanEval-X can't be read: {error}; see --data") from None


def _yaml(path: Path) -> list[dict[str, Any]]:
    try:
        return list(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise BenchError(f"{path}: cannot be read: {error}") from None
