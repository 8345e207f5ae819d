"""Reads tau2-bench's retail data set from its archive or from a folder with its files.

Source: https://github.com/sierra-research/tau2-bench (MIT), ``data/tau2/domains/retail``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.retail.documents import KINDS, Document
from bench.retail.tasks import Task

ARCHIVE = "tau2-retail.tar.xz"
DATABASE, POLICY, TASKS, SPLITS = FILES = ("db.json", "policy.md", "tasks.json", "split_tasks.json")
_TASKS = TypeAdapter(list[Task])
_SPLITS = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True)
class Retail:
    """The data set.

    Attributes:
        shop: users, orders and products by id.
        policy: the agent's instructions, in Markdown.
        tasks: all tasks, by id.
        splits: ids of tasks, in order, by the split's name.
    """

    shop: Mapping[str, Mapping[str, Document]]
    policy: str
    tasks: Mapping[str, Task]
    splits: Mapping[str, list[str]]

    def split(self, name: str, limit: int | None = None) -> list[Task]:
        """The split's first ``limit`` tasks, or all.

        Raises:
            BenchError: the split doesn't exist.
        """
        if name not in self.splits:
            raise BenchError(f"unknown split {name!r}; choose from {', '.join(self.splits)} with --split NAME")
        return [self.tasks[task_id] for task_id in self.splits[name][:limit]]


def read(folder: Path) -> Retail:
    """Reads the data set.

    Args:
        folder: contains the archive, or a folder with the four files at any depth.

    Raises:
        BenchError: the data is missing, or has another format.
    """
    texts = _texts(folder)
    try:
        shop: Any = json.loads(texts[DATABASE])
        tasks = {task.id: task for task in _TASKS.validate_json(texts[TASKS])}
        splits = _SPLITS.validate_json(texts[SPLITS])
        found = Retail({kind: shop[kind] for kind in KINDS}, texts[POLICY], tasks, splits)
        unknown = {task_id for ids in splits.values() for task_id in ids} - set(tasks)
        if unknown:
            raise KeyError(f"task {min(unknown)}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BenchError(f"{folder}: {error.title}: {place}: {first['msg']}; is it tau2-bench's retail data?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{folder}: not readable as tau2-bench's retail data: {error}") from None
    return found


def _texts(folder: Path) -> dict[str, str]:
    archive = folder / ARCHIVE
    texts = _unpacked(archive) if archive.is_file() else _files(folder)
    if missing := [name for name in FILES if name not in texts]:
        raise BenchError(
            f"neither {archive} nor tau2-bench's data/tau2/domains/retail with {', '.join(missing)} is in {folder}; "
            "give its folder with --data DIR"
        )
    return texts


def _unpacked(archive: Path) -> dict[str, str]:
    texts = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                path = Path(member.name)
                if path.name in FILES and path.parent.name == "retail" and (stream := opened.extractfile(member)):
                    texts[path.name] = stream.read().decode("utf-8")
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError) as error:
        raise BenchError(f"{archive}: cannot be read: {error}; download it again") from None
    return texts


def _files(folder: Path) -> dict[str, str]:
    """Files of the folder itself, or else of the first subfolder named retail."""
    places = [folder, *sorted(path.parent for path in folder.rglob(f"retail/{DATABASE}"))]
    home = next((place for place in places if (place / DATABASE).is_file()), folder)
    return {name: (home / name).read_text("utf-8") for name in FILES if (home / name).is_file()}
