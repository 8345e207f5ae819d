"""A home, a project's hostile tools, and the hosts that run them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flightloop.tool import ToolContext
from tools import process
from tools.config import ToolsConfig
from tools.host import ToolHosts, ToolOutcome
from tools.launch import make_scratch
from tools.sandbox.confinement import MECHANISMS

KEY = "flk_of_the_deployment"
CLOSED = os.geteuid() == 0 and any(not folder.stat().st_mode & 1 for folder in Path(sys.base_prefix).resolve().parents)
"""Root's Python can't be run by other users: without a mount namespace no tool starts, which has a test of its own."""
WAYS = [
    pytest.param(MECHANISMS, id="everything"),
    pytest.param(("namespaces", "seccomp"), id="without landlock"),
    pytest.param(
        ("landlock", "seccomp"),
        id="without namespaces",
        marks=pytest.mark.skipif(CLOSED, reason="Python lies in root's home, where other users can't run it"),
    ),
]
"""What a system may offer. Each must hold by itself."""


@dataclass
class Deployment:
    """A home as a deployment's is: key, journal, and the tools' data, which alone is theirs."""

    home: Path
    ran: AsyncExitStack
    mechanisms: tuple[str, ...] = MECHANISMS
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def key(self) -> Path:
        return self.home / "key"

    async def hosts(self, *sources: Path | str, **settings: Any) -> ToolHosts:
        config = ToolsConfig(
            spare=0, protected=(self.home,), mechanisms=self.mechanisms, **{**self.settings, **settings}
        )
        return await self.ran.enter_async_context(ToolHosts(sources, config, self.data))

    def context(self, tenant: str = "default", egress: tuple[str, ...] = (), run_id: str = "run") -> ToolContext:
        return ToolContext(f"{run_id}:0:0", tenant, "agent", "session", run_id, self.data, egress)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    for name in ("key", "flightloop.db", "flightloop.db-wal"):
        (home / name).write_text(KEY)
        (home / name).chmod(0o600)
    async with AsyncExitStack() as stack:
        yield Deployment(home, stack)


@pytest.fixture
def python(deployment: Deployment) -> Callable[..., Awaitable[ToolOutcome]]:
    """Runs a program as a model may: by the tool ``run_python``. HOME in it is the deployment's home."""
    made: list[ToolHosts] = []

    async def run(code: str, tenant: str = "default") -> ToolOutcome:
        if not made:
            made.append(await deployment.hosts("tools.builtin"))
        written = code.replace("HOME", str(deployment.home))
        return await made[0].call("run_python", {"code": written}, deployment.context(tenant))

    return run


def project_of(tmp_path: Path, text: str) -> Path:
    """The ``tools.py`` of a project."""
    path = tmp_path / "project" / "tools.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def scratches(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """The scratch folders of this test's hosts that are still there."""
    made: list[Path] = []

    def make() -> Path:
        made.append(make_scratch())
        return made[-1]

    monkeypatch.setattr(process, "make_scratch", make)
    return lambda: [folder for folder in made if folder.exists()]
