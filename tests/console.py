"""The console as it is started, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "no chromium on the PATH (Debian: apt-get install chromium)"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def python_path() -> str:
    """For a process that imports this checkout."""
    return os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "sdk"), os.environ.get("PYTHONPATH")]))


@contextmanager
def console(
    platform: str, folder: Path, environment: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[str]:
    """``python -m dashboards`` for the platform at that address; its log is ``console.log`` in the folder."""
    port = port or free_port()
    environ = {
        **os.environ,
        "FLIGHTLOOP_URL": platform,
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": python_path(),
        **(environment or {}),
    }
    with (folder / "console.log").open("w") as log:
        command = [sys.executable, "-m", "dashboards"]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            answers(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@retry(retry=retry_if_exception_type(httpx.TransportError), wait=wait_fixed(0.2), stop=stop_after_delay(60))
def answers(url: str) -> None:
    """Returns once the console at that address does."""
    httpx.get(f"{url}/_stcore/health", trust_env=False).raise_for_status()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium; each of its contexts is a visitor of its own."""
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield started
        finally:
            started.close()


def visitor(chromium: Any, **context: Any) -> Any:
    """A page of a visitor who waits long: on a busy machine a page takes half a minute to appear."""
    page = chromium.new_context(**context).new_page()
    page.set_default_timeout(120_000)
    return page


def log_in(page: Any, key: str) -> None:
    """Types the key into the console's form."""
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
