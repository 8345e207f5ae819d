"""A client under test: its program, run in its own environment, and the checks that it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.environment import CLIENTS as PYTHON
from bench.peers.environment import build
from bench.peers.node_environment import NODE_ENVIRONMENTS, build_node, node_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TIMEOUT_S = 900.0
TAIL = 20
"""Lines of a program's log that a failure shows."""


@dataclass(frozen=True)
class Check:
    """A check's result, as the program printed it."""

    name: str
    ok: bool
    seen: str
    """What the client got, shortened."""


@dataclass(frozen=True)
class Client:
    """A client library and the program that tries it."""

    name: str
    programs: tuple[str, ...]
    """Files in this folder, in Python or, with the suffix ``.mjs``, for Node."""
    traced: bool = False
    """Whether the platform sends its traces to this client, at the port ``TRACES_PORT`` of its environment."""

    @property
    def environment(self) -> str:
        return f"client_{self.name}"

    @property
    def packages(self) -> str:
        """The pinned packages."""
        if self == FAKE:
            return "none"
        python = PYTHON.get(self.environment)
        return ", ".join(python.packages if python else NODE_ENVIRONMENTS[self.environment])

    def commands(self) -> list[list[str]]:
        """The commands that run the programs. Builds their environment if that is missing. Raises PeerError."""
        files = [HERE / program for program in self.programs]
        if self == FAKE:
            return [[sys.executable, "-P", str(file)] for file in files]
        if self.environment in PYTHON:
            return [[str(build(self.environment)), "-P", str(file)] for file in files]
        folder = build_node(self.environment)
        for needed in (*files, HERE / "checks.mjs"):
            shutil.copy(needed, folder)  # Node looks for packages beside the program
        return [[str(node_of(folder)), str(folder / file.name)] for file in files]


FAKE = Client("fake", ("client_fake.py",))
"""A client for tests, which runs in our own environment."""

CLIENTS: Sequence[Client] = (
    Client(
        "openai",
        (
            "client_openai.py",
            "client_openai_errors.py",
            "client_openai_responses.py",
        ),
    ),
    Client("openai_node", ("client_openai_node.mjs",)),
    Client("ai", ("client_ai.mjs",)),
    Client("litellm", ("client_litellm.py",)),
    Client("langchain", ("client_langchain.py",)),
    Client("pydantic_ai", ("client_pydantic_ai.py",)),
    Client("openai_agents", ("client_openai_agents.py",)),
    Client("instructor", ("client_instructor.py",)),
    Client("mcp1", ("client_mcp1.py",)),
    Client("mcp2", ("client_mcp2.py",)),
    Client("llama_index", ("client_llama_index.py",)),
    Client("inspect_ai", ("client_inspect_ai.py",)),
    Client("phoenix", ("client_phoenix.py",), traced=True),
)


def tried(command: Sequence[str], settings: Mapping[str, str], log: Path, timeout_s: float = TIMEOUT_S) -> list[Check]:
    """Runs a client's program and reads its checks. A program that fails or prints no check adds a failed check.

    Args:
        settings: environment variables of the program, in addition to a few of this process.
        log: file for what it prints to standard error.
    """
    with log.open("w") as errors:
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**_environment(), **settings},
                cwd=log.parent,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as late:
            printed = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
            return [*_read(printed), Check("program", False, f"was not done after {timeout_s:g} s")]
    checks = _read(ended.stdout)
    if ended.returncode or not checks:
        last = log.read_text(errors="replace").splitlines()[-TAIL:]
        checks.append(Check("program", False, "\n".join([f"exit status {ended.returncode}", *last])))
    return checks


def _read(printed: str) -> list[Check]:
    found = []
    for line in printed.splitlines():
        document = _document(line)
        if isinstance(document, dict) and {"name", "ok", "seen"} <= document.keys():
            found.append(Check(str(document["name"]), document["ok"] is True, str(document["seen"])))
    return found


def _document(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None  # libraries print too


def _environment() -> dict[str, str]:
    """Few variables: a key or an address of a model in this process's environment must not reach a client."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if name in os.environ}
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ours = {
        "PYTHONPATH": str(ROOT),
        "SERVER_PYTHON": sys.executable,
        "SERVER_PATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk'}",
    }
    return {**kept, **offline, **ours, "PYTHONUNBUFFERED": "1"}
