"""Programs that try to leave the sandbox in which generated code is tested.

A program's ``attempt()`` does something that it must not, and returns what it got. The sandbox holds if nothing is seen
of it outside (`bench.code.outside`), and if no program of Python says ``ESCAPED``, which it does where only the program
can know, as of a system call that should have failed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import yaml

from bench.code.outside import outside, started_processes
from bench.rows import Row
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.ending import below
from tools.host import ToolHosts
from tools.sandbox.confinement import adopt_orphans

HERE = Path(__file__).parent
MARK = "ESCAPED"
Language = Literal["python", "java"]
LANGUAGES: tuple[Language, ...] = ("python", "java")
IMPORTS = ("java.io.*", "java.net.*", "java.nio.channels.*", "java.nio.file.*", "java.util.*")


def attempts(language: Language) -> dict[str, str]:
    """Programs by name. Names in capitals stand for what lies outside: see `Outside.filled`."""
    found = dict(yaml.safe_load((HERE / f"escapes_{language}.yaml").read_text(encoding="utf-8")))
    return found if language == "python" else {name: java_program(body) for name, body in found.items()}


def java_program(body: str) -> str:
    """A class with a method ``attempt``."""
    imports = " ".join(f"import {name};" for name in IMPORTS)
    return f"{imports}\nclass Solution {{\nstatic Object attempt() throws Throwable {{\n{body.rstrip()}\n}}\n}}\n"


def measure() -> list[Row]:
    """The number of attempts that got out, of both languages together and of each."""
    rows, count, total = [], 0, 0
    for language in LANGUAGES:
        programs = attempts(language)
        with TemporaryDirectory(prefix="flightloop-escape-") as name:
            escaped = escaped_of(programs, Path(name).resolve(), language)
        note = "; ".join(f"{name}: {', '.join(signs)}" for name, signs in escaped.items()) or None
        rows.append(
            Row(f"code_escape_{language}", len(escaped), f"of {len(programs)}", higher_is_better=False, note=note)
        )
        count, total = count + len(escaped), total + len(programs)
    return [Row("code_escape", count, f"of {total}", higher_is_better=False), *rows]


def escaped_of(programs: Mapping[str, str], folder: Path, language: Language = "python") -> dict[str, list[str]]:
    """Names of the programs that got out of the sandbox, with what was seen. ``folder``: an empty one."""
    known = [*below(os.getpid())]
    adopt_orphans()  # a process that outlives its parent then counts as below this one
    try:
        escaped = asyncio.run(_escaped(programs, folder, language))
        return escaped | ({"after all": ["lives on"]} if started_processes(known) else {})
    finally:
        adopt_orphans(False)


async def _escaped(programs: Mapping[str, str], folder: Path, language: Language) -> dict[str, list[str]]:
    data, escaped = folder / "data", {}
    data.mkdir()
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as hosts:
        for name, code in programs.items():
            with outside(folder / name) as one:
                with one.watched():
                    told = await run(hosts, data, one.filled(code), language)
                if signs := [*one.seen(told), *([MARK] if MARK in told else [])]:
                    escaped[name] = signs
    return escaped


async def run(hosts: ToolHosts, data: Path, code: str, language: Language) -> str:
    """What the tool says about a program that tries something. ``attempt()`` returns what it got."""
    context = ToolContext("bench:0:0", "default", "bench", "bench", "bench", data, ())
    arguments = {"code": code, "language": language, "tests": [{"call": "attempt()"}]}
    outcome = await hosts.call("run_tests", arguments, context)
    return str(outcome.content if outcome.ok else outcome.error)
