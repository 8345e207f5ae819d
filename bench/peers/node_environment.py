"""Builds environments of Node programs: ``python -m bench.peers.node_environment [NAME ...]``.

Like `bench.peers.environment`, with npm, which must be on the path. Each environment brings the Node that runs it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.peers.environment import PeerError, cache_folder, main

NODE = "node@24.9.0"
"""The newest packages need Node 22 or later."""

NODE_ENVIRONMENTS: Mapping[str, Sequence[str]] = {
    "client_openai_node": ["openai@7.59.0", "zod@4.6.7"],
    "client_ai": ["ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92", "@ai-sdk/openai@4.0.118", "zod@4.6.7"],
}


def build_node(name: str) -> Path:
    """Builds an environment if it is missing or outdated, and returns its folder.

    Raises:
        PeerError: the name is unknown, npm is missing, or the installation failed.
    """
    if name not in NODE_ENVIRONMENTS:
        raise PeerError(f"unknown environment {name}; choose from {', '.join(NODE_ENVIRONMENTS)}")
    folder, packages = cache_folder() / name, [NODE, *NODE_ENVIRONMENTS[name]]
    stamp, recipe = folder / ".complete", json.dumps(packages)
    if stamp.is_file() and stamp.read_text() == recipe:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise PeerError(f"npm is not installed; {name} needs it")
    stamp.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--save-exact", *packages]
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
        raise PeerError(f"this command failed: {' '.join(command)}")
    stamp.write_text(recipe)
    return folder


def node_of(folder: Path) -> Path:
    """The Node program of an environment."""
    return folder / "node_modules" / ".bin" / "node"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or NODE_ENVIRONMENTS, build_node))
