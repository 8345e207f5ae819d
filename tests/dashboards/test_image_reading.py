"""The page of a run that was about images and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from agent.models.answer_chunks import text as words
from agent.models.chat_model import Capabilities
from agent.project.agent_spec import AgentSpec
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from agent.testing.scene import shop
from dashboards.attached import attached, charted_table
from flightloop import Flightloop
from flightloop import events as ev
from flightloop.content import Part, TextPart
from flightloop.parts import image_part, table_part
from flightloop.runs import Run
from guardrails.policy import parse_policy
from tests.dashboards.conftest import charted
from tests.dashboards.test_pages import text
from tests.tools.vision.drawing import bar_chart, table_image, text_image

Show = Callable[..., AppTest]
CITIES = ("Oslo", "Lima", "Rome", "Kyiv")
BARS = image_part(bar_chart([(35, 81, 12, 57), (20, 30, 44, 71)], CITIES, ("online", "shop")))
TABLE = table_part("month,sales\n2024-01,120\n2024-02,150\n2024-03,90\n")
WITHHOLDS = """
name: default
version: "2"
stages: {tool_result: {rails: [{rail: terms, terms: [plutonium], action: block}]}}
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with shop(1) as running:
        yield running


def ended(client: Flightloop, *parts: Part, agent: str = "predict") -> Run:
    run = client.runs.create(agent=agent, input=[TextPart(text="What is to be seen?"), *parts])
    return client.runs.wait(run.id, timeout_s=60)


def charts(app: AppTest) -> list[Any]:
    return [item.proto for item in app.get("vega_lite_chart")][:-1]  # the last is the timeline


@pytest.mark.parametrize("agent", ["predict", "support"])
def test_a_chart_has_overlay_table_and_suggestion(show: Show, client: Flightloop, agent: str) -> None:
    app = show("run", id=ended(client, BARS, agent=agent).id)
    (table,) = (item.value for item in app.dataframe)
    assert table["series"].tolist() == ["online"] * 4 + ["shop"] * 4
    assert table["value"].tolist() == pytest.approx([35, 81, 12, 57, 20, 30, 44, 71], rel=0.05)
    over, suggested = charts(app)
    rows = json.loads(over.spec)["layer"][1]["data"]["values"]
    assert {row["colour"] for row in rows[:4]} != {row["colour"] for row in rows[4:]}
    assert charted(suggested)["series"].tolist() == table["series"].tolist()
    assert "grouped bar" in text(app)
    assert "largest value of online" in text(app)


def test_what_an_image_says_is_not_read_as_markup(show: Show, client: Flightloop) -> None:
    evil = "<b>**x**</b>"
    app = show("run", id=ended(client, image_part(bar_chart([(35, 81)], ("a", "b"), (evil,)))).id)
    said = text(app)
    assert "<b>**" not in said
    assert evil in app.dataframe[0].value["series"].tolist()[0]


def test_a_table_that_was_sent_is_shown_with_its_chart(show: Show, client: Flightloop) -> None:
    app = show("run", id=ended(client, TABLE).id)
    assert app.dataframe[0].value["month"].tolist() == ["2024-01", "2024-02", "2024-03"]
    (suggested,) = charts(app)
    assert charted(suggested)["value"].tolist() == [120, 150, 90]
    assert "|2024-01|" not in text(app)


def test_the_suggestion_stands_beside_the_table_that_it_shows(show: Show, client: Flightloop) -> None:
    run = ended(client, table_part("city,mayor\nOslo,Ada\n"), TABLE)
    given = attached(client.runs.events(run.id))
    assert charted_table(client.predictions.get(run.id), given) == 2
    app = show("run", id=run.id)
    assert len(charts(app)) == 1
    assert text(app).index("None for these values") < text(app).index("are points in time")


def test_the_suggestion_stands_beside_the_image_that_it_shows(show: Show, client: Flightloop) -> None:
    words, table = text_image(["Hello there"]), table_image([("city", "orders"), ("Oslo", "12")], ruled=True)
    app = show("run", id=ended(client, image_part(words), image_part(table)).id)
    headings = [item.proto.body for item in app.get("html") if "fl-tier" in item.proto.body]
    assert sum("Suggested chart" in one for one in headings) == 2
    assert len(charts(app)) == 3  # two images, one suggestion
    assert text(app).count("None for these values") == 1


def test_a_withheld_reading_is_marked(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_of([AgentSpec(name="helper", instructions="Help.")])
    project.policies["default"] = parse_policy(WITHHOLDS)
    with Platform(project, AnsweringChatModel(lambda request: words("Done."))) as platform:
        monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)
        with Flightloop(platform.url, platform.api_key) as client:
            run = ended(client, image_part(text_image(["plutonium"])), image_part(text_image(["water"])))
            assert [one.lines for one in client.predictions.get(run.id).readings] == [["water"]]
            assert text(show("run", id=run.id)).count("A guardrail withholds this reading") == 1


def test_a_run_at_work_has_no_suggestion_yet_and_a_stopped_one_none(
    show: Show, platform: Platform, client: Flightloop
) -> None:
    platform.rest()
    run = client.runs.create(agent="predict", input=[BARS])
    app = show("run", id=run.id)
    assert "follow when the run has ended" in text(app)
    assert len(app.dataframe) == 1
    assert len(app.get("vega_lite_chart")) == 2
    client.runs.interrupt(run.id)
    platform.work()
    app.run()
    assert "the run was ended before its answer" in text(app)
    assert "withholds" not in text(app)


def test_a_model_that_sees_gets_the_image_itself(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_of([AgentSpec(name="helper", instructions="Help.")])
    model = AnsweringChatModel(
        lambda request: words("Bars."), capabilities=Capabilities(parts=frozenset({"text", "image_url"}))
    )
    with Platform(project, model) as platform:
        monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)
        with Flightloop(platform.url, platform.api_key) as client:
            app = show("run", id=ended(client, BARS, agent="helper").id)
            assert "the model sees images itself" in text(app)
            assert "no numbers are known" in text(app)
            assert app.image[0].value[0].startswith("data:image/png;base64,")


def test_an_image_that_was_not_read(client: Flightloop) -> None:
    run = ended(client, BARS)
    created = next(event for event in client.runs.events(run.id) if isinstance(event, ev.RunCreated))
    (image,) = attached([created]).images
    assert (image.number, image.reading is None) == (1, False)
    (unread,) = attached([created.model_copy(update={"readings": []})]).images
    assert (unread.url, unread.reading) == (image.url, None)
    (digest,) = attached([created.model_copy(update={"input": run.input})]).images
    assert digest.url == ""
