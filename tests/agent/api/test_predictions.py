"""Predictions over HTTP and with both clients: facts by code, words by the model, checked against the data."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from agent.api import create_app
from agent.attachments import prediction, shown
from agent.attachments.images import Sender, TakenIn
from agent.models.answer_chunks import Turn, text
from agent.models.chat_model import Capabilities
from agent.project.agent_spec import AgentSpec
from agent.testing.api import KEY, api_deps
from agent.testing.fakes import AnsweringChatModel
from agent.testing.images import local_images
from agent.testing.platform import Platform, project_of
from flightloop import AsyncFlightloop, Flightloop
from flightloop.chat import ChatRequest
from flightloop.errors import Conflict, InvalidRequest, ModelUnavailable, NotFound
from flightloop.events import Judged
from flightloop.parts import table_part
from flightloop.runs import RunStatus
from flightloop.verdicts import Action
from guardrails.policy import parse_policy
from tests.tools.vision.drawing import bar_chart, png, table_image, text_image
from tools.vision.advice import render
from tools.vision.key_points import KeyPoint, key_points
from tools.vision.measures import Measures

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")
CHART = bar_chart([(35, 81, 12, 57)], CITIES)
ROWS = [{"month": "2024-01", "sales": 120}, {"month": "2024-02", "sales": 150}, {"month": "2024-03", "sales": 90}]


class Model:
    """Gives the same answer to all requests, and keeps these."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.seen: list[ChatRequest] = []

    def __call__(self, request: ChatRequest) -> Turn:
        self.seen.append(request)
        return text(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


def platform(model: Any, *policies: Any, **capabilities: Any) -> Platform:
    agent = AgentSpec(name="helper", instructions="Help.", planning=False)
    can = Capabilities(context_length=4000, **capabilities)
    return Platform(project_of([agent], [], list(policies)), AnsweringChatModel(model, capabilities=can))


def test_a_chart_is_described_with_evidence() -> None:
    model = Model("Lima is the highest, with about 82. Oslo has 81.8. Rome has only 12.3.")
    with platform(model) as serving, Flightloop(serving.url, serving.api_key) as client:
        found = client.predict("Which city is first?", CHART, context="Sales of 2024")
        events = serving.events(found.run_id)
    assert (found.status, found.described_by) == (RunStatus.SUCCEEDED, "model")
    assert found.description == "Lima is the highest, with about 82. Rome has only 12.3."
    [removed] = [e.verdict for e in events if isinstance(e, Judged) and e.verdict.action is Action.REDACT]
    assert (removed.rail, "the data have Oslo" in removed.reason) == ("groundedness", True)
    kinds = {point.kind: point for point in found.key_points}
    assert kinds["largest"].category == "Lima"
    assert kinds["largest"].text.endswith("at Lima")
    [index] = kinds["largest"].evidence
    evidence = found.evidence[index]
    assert (evidence.image, evidence.category, evidence.value) == (1, "Lima", kinds["largest"].value)
    assert evidence.pixel is not None
    assert evidence.confidence > 0.5
    assert found.chart is not None
    assert (found.chart.chart, len(found.chart.spec["data"]["values"])) == ("bar", 4)
    assert render(found.chart.spec).startswith(b"\x89PNG")
    assert found.table is not None
    assert [row[0] for row in found.table.rows] == list(CITIES)
    assert found.confidence is not None
    assert 0.3 < found.confidence <= 1
    asked = model.seen[0].messages
    assert asked[0].text.startswith("You describe charts and tables.")
    assert "Context: Sales of 2024" in asked[-1].text
    assert "[image 1: bar chart" in asked[-1].text


def test_if_nothing_is_left_code_describes_the_data() -> None:
    model = Model("Oslo has 81.8. Rome sold 777 units.")
    with platform(model) as serving, Flightloop(serving.url, serving.api_key) as client:
        found = client.predict(image=CHART)
    assert (found.status, found.described_by) == (RunStatus.SUCCEEDED, "code")
    assert found.description.startswith("The data have values of 4 categories. Largest value: 81.")


def test_follow_ups_use_the_same_reading() -> None:
    model = Model("Lima is first.", "Rome is last, with 12.3.", "Kyiv has 12.3.")
    with platform(model) as serving, Flightloop(serving.url, serving.api_key) as client:
        first = client.predict("Which is first?", CHART)
        second = client.predict("And the last?", session_id=first.session_id)
        third = client.predict("And Kyiv?", session_id=first.session_id)
    assert second.description == "Rome is last, with 12.3."
    assert (second.key_points, second.readings) == (first.key_points, first.readings)
    assert third.described_by == "code"
    assert "[image 1: bar chart" in model.seen[1].messages[1].text


async def test_tables_with_the_asynchronous_client() -> None:
    model = Model("Sales fell from 120 to 90.")
    with platform(model) as serving:
        async with AsyncFlightloop(serving.url, serving.api_key) as client:
            found = await client.predict("How did sales go?", table=ROWS)
    assert found.description == "Sales fell from 120 to 90."
    assert found.chart is not None
    assert (found.chart.chart, found.confidence) == ("line", 1.0)
    change = next(point for point in found.key_points if point.kind == "change")
    assert [found.evidence[index].value for index in change.evidence] == [120, 90]
    assert found.table is not None
    assert found.table.columns == ["month", "sales"]
    assert "- largest value of sales: 150 at 2024-02" in model.seen[0].messages[-1].text


def test_many_rows_are_worked_on_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()

    def noted(measures: Measures) -> tuple[KeyPoint, ...]:
        threads.add(threading.current_thread().name.split("_")[0])
        return key_points(measures)

    for module in (prediction, shown):
        monkeypatch.setattr(module, "key_points", noted)
    rows = [{"day": f"2024-01-{place}", "sales": place} for place in range(800)]
    with platform(Model("ok")) as serving, Flightloop(serving.url, serving.api_key) as client:
        found = client.predict("And?", table=rows)
        client.predict("And?", session_id=found.session_id)
        client.chat.completions.create(model="fake", messages=[{"role": "user", "content": [table_part(rows)]}])
    assert threads == {"guard"}
    assert {point.kind: len(point.evidence) for point in found.key_points}["trend"] == 2
    assert len(found.evidence) == 2


async def test_a_repeated_category_has_the_evidence_of_its_own_value() -> None:
    with platform(Model("ok")) as serving:
        async with AsyncFlightloop(serving.url, serving.api_key) as client:
            found = await client.predict(table=[{"city": name, "n": n} for name, n in (("a", 9), ("b", 1), ("a", 2))])
    largest = found.key_points[0]
    assert [found.evidence[place].value for place in largest.evidence] == [largest.value] == [9]


def test_tables_and_texts_in_images() -> None:
    rows = (("Name", "Units"), ("Apples", "120"), ("Pears", "85"), ("Plums", "70"))
    with platform(Model("Apples lead with 120 units.")) as serving, Flightloop(serving.url, serving.api_key) as client:
        table = client.predict(image=table_image(rows, ruled=True))
        letter = client.predict("What does it say?", text_image(("Hello world",)))
    assert table.table is not None
    assert table.table.rows[0] == ["Apples", "120"]
    assert table.key_points[0].text == "largest value of Units: 120 at Apples"
    assert (letter.key_points, letter.chart, letter.table) == ([], None, None)
    assert letter.described_by == "code"  # nothing in the image bears out what the model says
    assert "Hello world" in letter.description


def test_a_model_that_sees_gets_the_image_and_the_reading() -> None:
    model = Model("Lima is first.")
    parts = frozenset({"text", "image_url"})
    with platform(model, parts=parts) as serving, Flightloop(serving.url, serving.api_key) as client:
        found = client.predict("Which?", CHART)
    assert [part.type for part in model.seen[0].messages[-1].content] == ["text", "image_url", "text"]
    assert found.key_points


def test_without_a_model_the_facts_remain() -> None:
    def fails(request: ChatRequest) -> Turn:
        return [ModelUnavailable("no model")]

    with platform(fails) as serving, Flightloop(serving.url, serving.api_key) as client:
        found = client.predict(table=ROWS)
    assert (found.status, found.described_by) == (RunStatus.FAILED, "code")
    assert "Largest value of sales: 150 at 2024-02." in found.description


def test_the_projects_default_policy_holds_too() -> None:
    policy = parse_policy(
        'name: default\nversion: "2"\nstages: {input: {rails: [{rail: terms, terms: [plutonium], action: block}]}}'
    )
    with platform(Model("ok"), policy) as serving:
        serving.project.project.policies["default"] = policy
        with Flightloop(serving.url, serving.api_key) as client:
            found = client.predict("How much plutonium?", table=ROWS)
    assert (found.status, found.key_points) == (RunStatus.BLOCKED, [])


WITHHOLDS = """
name: default
version: "2"
stages: {STAGE: {rails: [{rail: terms, terms: [Lima, Hello], action: ACTION}]}}
"""


@pytest.mark.parametrize("action", ["block", "redact"])
def test_a_reading_that_the_guard_withholds_is_not_told(action: str) -> None:
    policy = parse_policy(WITHHOLDS.replace("STAGE", "tool_result").replace("ACTION", action))
    with platform(Model("Oslo has 999 orders."), policy) as serving:
        serving.project.project.policies["default"] = policy
        with Flightloop(serving.url, serving.api_key) as client:
            found = client.predict(image=[CHART, text_image(("Hello world",))], table=ROWS)
    assert (found.status, found.described_by) == (RunStatus.SUCCEEDED, "code")
    assert "withheld what was read in image 1. A guardrail withheld what was read in image 2." in found.description
    assert "Largest value of sales: 150" in found.description
    assert found.readings == []
    assert "Lima" not in found.model_dump_json()
    assert "Hello" not in found.model_dump_json()


def test_what_code_describes_passes_the_rails_of_answers() -> None:
    policy = parse_policy(WITHHOLDS.replace("STAGE", "final").replace("ACTION", "block"))
    with platform(Model("Oslo has 999 orders."), policy) as serving:
        serving.project.project.policies["default"] = policy
        with Flightloop(serving.url, serving.api_key) as client:
            found = client.predict(image=CHART)
    assert found.description == "A guardrail withheld the description and the data."
    assert "Lima" not in found.model_dump_json()


def test_images_are_fetched_from_the_hosts_of_the_predictors_policy() -> None:
    default = parse_policy('name: default\nversion: "2"\negress: {hosts: [one.example]}')
    own = AgentSpec(name="predict", instructions="Describe.", policy="own")
    project = project_of([own], [], [parse_policy('name: own\nversion: "1"')])
    with Platform(project, AnsweringChatModel(Model("ok"))) as serving:
        project.policies["default"] = default
        with (
            Flightloop(serving.url, serving.api_key) as client,
            pytest.raises(InvalidRequest, match="of the policy own is empty"),
        ):
            client.predict(image="https://one.example/a.png")


def test_a_prediction_is_a_run() -> None:
    with platform(Model("Lima is first.")) as serving, Flightloop(serving.url, serving.api_key) as client:
        run = client.predictions.create("Which?", CHART, metadata={"a": "b"}, idempotency_key="one")
        again = client.predictions.create("Which?", CHART, metadata={"a": "b"}, idempotency_key="one")
        assert (run.id, run.agent, run.metadata) == (again.id, "predict", {"a": "b"})
        assert client.runs.wait(run.id).output_text == "Lima is first."
        assert client.predictions.get(run.id).description == "Lima is first."
        assert client.runs.list(agent="predict").data[0].id == run.id
        fork = client.runs.fork(run.id, step=0)
        assert client.runs.wait(fork.id).status is RunStatus.SUCCEEDED
        client.interrupts.create(scope="agent", target="predict")
        with pytest.raises(Exception, match="stops agent predict"):
            client.predict(image=CHART)


def test_a_prediction_needs_an_ended_run() -> None:
    with platform(Model("ok")) as serving, Flightloop(serving.url, serving.api_key) as client:
        serving.rest()
        run = client.predictions.create("Which?", table=ROWS)
        with pytest.raises(Conflict, match="once it has ended"):
            client.predictions.get(run.id)
        with pytest.raises(NotFound):
            client.predictions.get("run_none")
        serving.work()


def test_a_bound_key_sees_its_own_predictions_only() -> None:
    with platform(Model("Sales fell.")) as serving, Flightloop(serving.url, serving.api_key) as client:
        keys = [client.keys.create(name=name, subject=name).key for name in ("ann", "bob")]
        with Flightloop(serving.url, keys[0]) as ann, Flightloop(serving.url, keys[1]) as bob:
            found = ann.predict(table=ROWS)
            assert found.description == "Sales fell."
            with pytest.raises(NotFound):
                bob.predictions.get(found.run_id)
            with pytest.raises(Conflict, match="another subject"):
                bob.predict("And?", session_id=found.session_id)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give a text, an image or a table"),
        ({"image": b"GIF89a"}, "not PNG, JPEG or WebP"),
        ({"image": "no/such/file.png"}, "cannot be read"),
        ({"image": "https://example.com/a.png"}, "egress.hosts of the policy default is empty"),
        ({"image": [CHART] * 9}, "at most 8"),
        ({"table": [["a", "b"], [1]]}, "has 1 cells, but the table has 2 columns"),
        ({"table": [["a"], *[[1]] * 50_000]}, "cells exceed the limit of 50000"),
        ({"table": 3}, "give a CSV file"),
        ({"table": "no/such/file.csv"}, "cannot be read"),
        ({"image": CHART, "budget": {"step": 1}}, "budget"),
    ],
)
def test_bad_input_is_refused(given: dict[str, Any], says: str) -> None:
    with (
        platform(Model("ok")) as serving,
        Flightloop(serving.url, serving.api_key) as client,
        pytest.raises(InvalidRequest, match=says),
    ):
        client.predict(**given)


async def test_errors_name_the_image() -> None:
    transport = httpx.ASGITransport(create_app(api_deps(images=local_images())), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        bad = {"url": f"data:image/png;base64,{base64.b64encode(b'x').decode()}"}
        answer = await client.post("/v1/predictions", json={"images": [bad]})
    assert answer.json()["error"]["param"] == "images[0]", answer.text


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/runs"])
async def test_no_image_is_taken_in_for_a_request_that_is_replayed_or_above_the_rate(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # rates are counted by the minutes of the clock
    deps = api_deps(images=local_images(), subject_requests_per_minute=2)
    assert deps.images is not None
    taken: list[str] = []
    take = deps.images.take

    async def noted(content: Any, sender: Sender, *args: Any, **kwargs: Any) -> TakenIn:
        taken.append(sender.subject or "")
        return await take(content, sender, *args, **kwargs)

    deps.images.take = noted  # type: ignore[method-assign]
    image = {"url": f"data:image/png;base64,{base64.b64encode(png(Image.new('RGB', (40, 30)))).decode()}"}
    asked = {"agent": "support", "input": [{"type": "image_url", "image_url": image}]}
    body = {"subject": "ann", **({"images": [image]} if path == "/v1/predictions" else asked)}
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": "one"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        first, again, above = [await client.post(path, json=body) for _ in range(3)]
    assert (first.status_code, again.json(), above.status_code) == (201, first.json(), 429), first.text
    assert again.headers["idempotent-replayed"] == "true"
    assert taken == ["ann"]
