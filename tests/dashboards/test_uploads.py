"""Files that a visitor sends with a message: as parts, and in the chat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.__main__ import ConsoleSettings
from dashboards.uploads import MEGABYTES, QUESTION, content_of
from flightloop import Flightloop
from flightloop.content import ImagePart, TablePart, TextPart
from flightloop.errors import InvalidRequest
from flightloop.limits import IMAGES
from flightloop.parts import MOST_BYTES
from tests.dashboards.conftest import charted
from tests.dashboards.test_pages import text
from tests.tools.vision.drawing import bar_chart

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")
CSV = b"\xef\xbb\xbfmonth,sales\n2024-01,120\n2024-02,150\n2024-03,90\n"


@dataclass
class Uploaded:
    name: str
    data: bytes

    def getvalue(self) -> bytes:
        return self.data


def test_images_and_tables_become_parts() -> None:
    parts = content_of("Hello", [Uploaded("a.png", bar_chart([(1, 2)], ("a", "b"))), Uploaded("b.CSV", CSV)])
    assert [type(part) for part in parts] == [TextPart, ImagePart, TablePart]
    assert isinstance(parts[2], TablePart)
    assert parts[2].table.columns == ["month", "sales"]
    assert content_of(" ", [Uploaded("b.csv", CSV)])[0] == TextPart(text=QUESTION)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.png", b"GIF89a", "a.png: the content is not PNG, JPEG or WebP"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES), "a.png has 10,485,768 bytes; the limit is 10,485,760"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv: rows.0: has 3 cells, but the table has 2 columns"),
        ("a.csv", b"\xff\xfe", "a.csv is not UTF-8 text"),
        ("a.csv", b"", "a.csv: table: is empty"),
        ("../../a.webp", b"RIFFxxxxWAVE", "^image: the content is not PNG, JPEG or WebP"),
    ],
)
def test_other_files_are_refused(name: str, data: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        content_of("", [Uploaded(name, data)])


def test_text_of_a_table_is_never_a_path(tmp_path: Path) -> None:
    """A file of one line that names a file of the console's computer is a table with one column."""
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n1\n")
    (_, part) = content_of("", [Uploaded("a.csv", str(secret).encode())])
    assert isinstance(part, TablePart)
    assert part.table.columns == [str(secret)]


def test_the_number_of_images_is_limited() -> None:
    one = Uploaded("a.png", bar_chart([(1, 2)], ("a", "b")))
    assert len(content_of("", [one] * IMAGES)) == IMAGES + 1
    with pytest.raises(InvalidRequest, match=f"{IMAGES + 1} images exceed the limit of {IMAGES}"):
        content_of("", [one] * (IMAGES + 1))


def test_the_console_takes_no_larger_files() -> None:
    assert ConsoleSettings().streamlit()["server.maxUploadSize"] == MEGABYTES == 10


def test_a_chart_is_uploaded_in_the_chat(show: Callable[..., AppTest], client: Flightloop) -> None:
    app = show("chat", session="s1", agent="predict")
    assert "at most 8" in text(app)
    chart = bar_chart([(35, 81, 12, 57)], CITIES, printed=True)
    app.chat_input[0].upload("chart.png", chart).upload("sales.csv", CSV).set_value("Which is first?").run()
    assert [item.value for item in app.exception] == []
    read, given = (item.value for item in app.dataframe)
    assert read.values.tolist() == [["Oslo", 35, 97], ["Lima", 81, 97], ["Rome", 12, 97], ["Kyiv", 57, 97]]
    assert given["sales"].tolist() == ["120", "150", "90"]
    overlay, suggested = (item.proto for item in app.get("vega_lite_chart"))
    assert "data:image/png;base64," in overlay.spec
    assert charted(suggested)["category"].tolist() == [*CITIES]
    assert "None for these values" in text(app)  # the suggestion is for the image
    (run,) = client.runs.list(session_id="s1").data
    assert (run.agent, run.input[0]) == ("predict", TextPart(text="Which is first?"))


def test_a_refused_message_is_not_lost(show: Callable[..., AppTest], client: Flightloop) -> None:
    app = show("chat", session="s2", agent="support")
    app.chat_input[0].upload("a.csv", b"a,b\n1,2,3\n").set_value("My long question").run()
    assert "A.csv: rows.0: has 3 cells, but the table has 2 columns" in text(app)
    assert app.chat_input[0].proto.value == "My long question"
    assert client.runs.list(session_id="s2").data == []
    app.run()
    assert "3 cells" not in text(app)
