"""The console as it is started, in a browser: what the harness can't see (navigation, charts, live parts)."""

from pathlib import Path

import pytest

from agent.testing.conversations import CONVERSATIONS
from agent.testing.platform import Platform
from flightloop import Flightloop
from tests.console import CHROMIUM, NO_CHROMIUM, browser, console, log_in, visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)]


def test_an_operator_finds_a_run_talks_to_an_agent_and_stops_everything(
    platform: Platform, client: Flightloop, tmp_path: Path
) -> None:
    with console(platform.url, tmp_path) as url, browser() as chromium:
        page = visitor(chromium, viewport={"width": 1400, "height": 1000})
        page.goto(f"{url}/approvals")  # a link may be the first thing that is opened
        log_in(page, platform.api_key)
        page.get_by_text("calls that a person decides about").wait_for()
        page.get_by_role("link", name="Overview").first.click()
        page.get_by_text("1 call waits for a person").wait_for()
        page.locator("canvas").first.wait_for()

        page.get_by_role("link", name="Chat").first.click()
        page.get_by_test_id("stChatInputTextArea").fill(CONVERSATIONS[0].asked)
        page.keyboard.press("Enter")
        page.get_by_text(CONVERSATIONS[0].answer).last.wait_for()

        run = client.runs.list(limit=1).data[0]
        page.goto(f"{url}/run?id={run.id}")  # the browser loads the console anew, which forgets the key
        log_in(page, platform.api_key)
        page.get_by_text("2 · order_details").first.wait_for()
        page.locator("[data-testid=stVegaLiteChart] .marks").first.wait_for()

        page.get_by_role("link", name="Emergency stop").first.click()
        page.get_by_role("button", name="STOP everything").click()
        page.get_by_role("button", name="Yes, stop everything now").click()
        page.get_by_text("Everything is stopped").first.wait_for()
    assert [item.scope for item in client.interrupts.list().data] == ["all"]
