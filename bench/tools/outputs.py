"""Writes the outcome of each case as JSON lines, to inspect mistakes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TextIO

from bench.tools.play import Played


class Outputs:
    """Writes files in a folder, which is created when the context is entered. Without a folder, writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Outputs:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def write(self, name: str, played: Played) -> None:
        """Appends a line to ``<name>.jsonl``: id, right, why, failure, seconds, turns."""
        if self._folder is None:
            return
        if name not in self._files:
            file = (self._folder / f"{name}.jsonl").open("w", encoding="utf-8")
            self._files[name] = self._stack.enter_context(file)
        document = {
            "id": played.case.id,
            "right": played.right,
            "why": played.why,
            "failure": played.failure,
            "seconds": round(played.seconds, 3),
            "turns": [[asdict(answer) for answer in turn] for turn in played.turns],
        }
        self._files[name].write(json.dumps(document, ensure_ascii=False) + "\n")
