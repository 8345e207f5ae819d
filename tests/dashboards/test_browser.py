"""The console as it is started, in a browser: what the harness can't see (navigation, charts, live parts)."""

from pathlib import Path
from typing import Any

import pytest

from agent.testing.conversations import CONVERSATIONS
from agent.testing.platform import Platform
from flightloop import Flightloop
from tests.console import CHROMIUM, NO_CHROMIUM, browser, console, log_in, visitor
from tests.tools.vision.drawing import bar_chart

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


CHART = bar_chart([(35, 81, 12, 57)], ("Oslo", "Lima", "Rome", "Kyiv"), ("<b>shop</b>",))
WIDE = 600  # pixels of the chart


OVERLAY = "[data-testid=stVegaLiteChart]"
MARK = f"{OVERLAY} .mark-symbol path"
PLACE = """([image, mark]) => {
  const [around, box] = [image, mark].map((one) => one.getBoundingClientRect());
  return [box.x + box.width / 2 - around.x, box.y + box.height / 2 - around.y].map((way) => way / around.width);
}"""
"""Both boxes at once, because the page may move between two questions."""


def place(page: Any, mark: int) -> tuple[float, float]:
    """Where a mark lies on the image that it was read in, in pixels of the image."""
    elements = [page.locator(f"{OVERLAY} image").first.element_handle(), page.locator(MARK).nth(mark).element_handle()]
    across, down = page.evaluate(PLACE, elements)
    return across * WIDE, down * WIDE


@pytest.mark.parametrize("width", [1400, 420])
def test_a_chart_is_uploaded_and_what_was_read_is_seen(
    platform: Platform, client: Flightloop, tmp_path: Path, width: int
) -> None:
    with console(platform.url, tmp_path) as url, browser() as chromium:
        page = visitor(chromium, viewport={"width": width, "height": 1400})
        page.goto(f"{url}/chat?session=s1&agent=predict")
        log_in(page, platform.api_key)
        page.get_by_test_id("stChatInputTextArea").wait_for()
        chart = {"name": "orders.png", "mimeType": "image/png", "buffer": CHART}
        with page.expect_response(lambda answer: "upload_file" in answer.url and answer.request.method == "PUT"):
            page.locator("[data-testid=stChatInput] input[type=file]").set_input_files(chart)
        page.get_by_text("orders.png").wait_for()
        page.get_by_test_id("stChatInputTextArea").fill("Which city has the most?")
        page.get_by_test_id("stChatInputSubmitButton").click()
        page.get_by_text("largest value of <b>shop</b>: 81").wait_for()  # as text, not as markup

        (read,) = client.predictions.get(client.runs.list(session_id="s1").data[0].id).readings
        lima = read.series[0].points[1]
        assert place(page, 1) == pytest.approx(lima.pixel, abs=3)
        cells = page.locator("[data-testid=stDataFrame] [role=gridcell]")
        cells.first.wait_for(state="attached")
        assert {"Oslo", "Lima", "Rome", "Kyiv"} <= set(cells.all_text_contents())
        suggested = page.get_by_test_id("stVegaLiteChart").nth(1)
        suggested.locator(".mark-rect path").nth(3).wait_for()
        overlay = page.get_by_test_id("stVegaLiteChart").first
        assert (suggested.bounding_box()["y"] > overlay.bounding_box()["y"] + 100) == (width < 600)  # stacked

        page.locator(MARK).nth(1).hover()  # last, when nothing moves any more
        told = page.locator("#vg-tooltip-element.visible", has_text="Lima")
        told.wait_for()
        assert "<b>shop</b>" in told.inner_text()
