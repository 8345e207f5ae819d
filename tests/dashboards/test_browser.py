"""The console as it is started, in a browser: what the harness can't see (navigation, charts, live parts)."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from flightloop.testing import FakeServer
from flightloop.testing.plots import PLOTS

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"),
]


@pytest.fixture
def console(server: FakeServer, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "FLIGHTLOOP_URL": server.url,
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "agent/sdk")]),
    }
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "dashboards"]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            _answers(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@retry(retry=retry_if_exception_type(httpx.TransportError), wait=wait_fixed(0.2), stop=stop_after_delay(60))
def _answers(url: str) -> None:
    httpx.get(url, trust_env=False).raise_for_status()


def log_in(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def test_an_operator_finds_a_run_talks_to_an_agent_and_stops_everything(console: str, server: FakeServer) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(60_000)
            page.goto(f"{console}/approvals")  # a link may be the first thing that is opened
            log_in(page, server.api_key)
            page.get_by_text("calls that the policy puts to a person").wait_for()
            page.get_by_role("link", name="Overview").first.click()
            page.get_by_text("1 call waits for a person").wait_for()
            page.locator("canvas").first.wait_for()

            page.get_by_role("link", name="Chat").first.click()
            page.get_by_test_id("stChatInputTextArea").fill(PLOTS[0].asked)
            page.keyboard.press("Enter")
            page.get_by_text(PLOTS[0].answer).last.wait_for()

            run = max(server.world.runs.values(), key=lambda each: each.created_at)
            page.goto(f"{console}/run?id={run.id}")  # the browser loads the console anew, which forgets the key
            log_in(page, server.api_key)
            page.get_by_text("2 · order_details").first.wait_for()
            page.locator("[data-testid=stVegaLiteChart] .marks").first.wait_for()

            page.get_by_role("link", name="Emergency stop").first.click()
            page.get_by_role("button", name="STOP everything").click()
            page.get_by_role("button", name="Yes, stop everything now").click()
            page.get_by_text("Everything is stopped").first.wait_for()
        finally:
            browser.close()
    assert [item.scope for item in server.world.active_interrupts()] == ["all"]
