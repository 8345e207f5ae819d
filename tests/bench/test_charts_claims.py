"""What descriptions of drawn charts claim, counted against the drawn data."""

from __future__ import annotations

import random

import pytest
from rich.console import Console

from agent.models.answer_chunks import Turn, text
from agent.models.chat_model import Capabilities
from agent.project.agent_spec import AgentSpec
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform, project_of
from bench.charts import in_vega
from bench.charts.claims import claims_right
from bench.charts.described import Descriptions, descriptions
from bench.charts.specimen import Specimen
from flightloop import Flightloop
from flightloop.chat import ChatRequest
from flightloop.predictions import Prediction
from flightloop.readings import ImageReading

BARS = Specimen("bar", ("Oslo", "Lima", "Rome"), ("Plan",), ((120, 40, 250),), "Sales in 2019", style={"seed": 0.5})
PIE = Specimen("pie", ("Rail", "Road"), ("",), ((30, 90),), style={"seed": 0.5})
LINE = Specimen("line", ("2019", "2020", "2021", "2022"), ("A", "B"), ((10, 12, 15, 20), (90, 80, 70, 45)))


def reading(kind: str, **rows: dict[str, float]) -> ImageReading:
    series = [
        {
            "name": name.strip("_"),
            "colour": "#000000",
            "points": [{"x": x, "y": y, "pixel": [1, 1], "confidence": 1.0, "printed": False} for x, y in row.items()],
        }
        for name, row in rows.items()
    ]
    return ImageReading.model_validate(
        {"kind": "chart", "chart": kind, "width": 9, "height": 9, "confidence": 1.0, "series": series}
    )


READ = reading("bar", _={"Oslo": 121.4, "Lima": 40, "Rome": 200})  # Rome is 20 % off


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("Oslo has 120.", [True]),
        ("Oslo has 121.4.", [True]),  # as it was read
        ("Oslo has 125.", [False]),
        ("Oslo has about 121 and Lima 40.", [True, True]),
        ("Oslo has 40.", [False]),
        ("Rome has 250.", [True]),
        ("Rome has 200.", [False]),  # a value that was read wrong
        ("Rome has the largest value.", [True]),
        ("Oslo has the largest value.", [False]),
        ("Sales in 2019 were 777 in all.", [False]),  # a number that nothing has; 2019 is of the title
        ("The three cities differ.", []),
        ("Rome has 250, the most, and Oslo 999.", [True, True, False]),
    ],
)
def test_claims_are_counted_against_the_drawn_values(said: str, right: list[bool]) -> None:
    assert claims_right(said, BARS, READ) == right


def test_values_of_a_pie_are_percentages_if_they_were_read_so() -> None:
    percent = reading("pie", _={"Rail": 25.2, "Road": 74.8})
    assert claims_right("Rail has 25.2% and Road 74.8%.", PIE, percent) == [True, True]
    assert claims_right("Rail has 74.8%.", PIE, percent) == [False]


def test_directions_are_those_of_the_series_that_is_named() -> None:
    a, b = ({name: row[place] for place, name in enumerate(LINE.categories)} for row in LINE.values)
    both = reading("line", A=a, B=b)
    assert claims_right("A rose from 2019 to 2022.", LINE, both) == [True]
    assert claims_right("B rose from 2019 to 2022.", LINE, both) == [False]
    trend = "Trend of A from 2019 to 2022: rising (Kendall's tau 0.87)."
    assert claims_right(trend, LINE, both) == [True]


def test_names_that_the_platform_made_up_are_no_claims() -> None:
    unnamed = reading("line", _=dict(zip(LINE.categories, LINE.values[0], strict=True)))
    assert claims_right("Largest value of Series 1: 20 at 2022.", LINE, unnamed) == [True, True]


def test_a_table_has_no_claims_about_a_chart() -> None:
    table = ImageReading(kind="table", width=9, height=9, confidence=1.0, columns=["a"], rows=[["1"]])
    with pytest.raises(ValueError, match="not read as a chart"):
        claims_right("1", BARS, table)


def bars(_: random.Random, *, chinese: bool) -> Specimen:
    assert not chinese
    return BARS


class Model:
    """Says the same of every chart."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.asked = 0

    def __call__(self, request: ChatRequest) -> Turn:
        self.asked += 1
        return text(self.said)


def described(said: str) -> tuple[Descriptions, Prediction]:
    agent = AgentSpec(name="helper", instructions="Help.", planning=False)
    model, seen = Model(said), []
    chat = AnsweringChatModel(model, capabilities=Capabilities(context_length=4000))
    with Platform(project_of([agent]), chat) as platform, Flightloop(platform.url, platform.api_key) as client:

        def predict(question: str, image: bytes) -> Prediction:
            seen.append(client.predict(question, image))
            return seen[-1]

        found = descriptions(Console(quiet=True), predict, {"vega": in_vega.draw}, "test", 1, {"bars": bars})
    assert (model.asked, len(found.seconds)) == (1, 1)
    return found, seen[-1]


@pytest.mark.parametrize(
    ("said", "by"), [("Rome has the largest value.", "model"), ("Lima has the largest value, 999.", "code")]
)
def test_the_platform_says_what_its_reading_supports(said: str, by: str) -> None:
    found, prediction = described(said)
    assert prediction.described_by == by
    assert (found.by_model, found.unread) == (int(by == "model"), 0)
    assert found.right
    assert all(found.right), prediction.description


def test_rows_tell_how_many_claims_are_true_and_of_what() -> None:
    supported, seconds = Descriptions([True, True, False, True], [1.0, 3.0, 2.0], by_model=1, unread=1).rows()
    assert (supported.name, supported.value, supported.cases) == ("claims_supported", 0.75, 4)
    assert supported.note == "2 charts, 1 of them described by the model; 1 others were not read"
    assert (seconds.name, seconds.value, seconds.higher_is_better) == ("predict_p50_s", 2.0, False)
