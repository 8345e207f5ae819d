"""What a type checker sees: one source, two clients."""

from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

PROGRAM = """
from collections.abc import AsyncIterator, Iterator
from typing import assert_type
from flightloop import AsyncFlightloop, Flightloop
from flightloop.chat import ChatChunk, ChatCompletion
from flightloop.events import RunEvent
from flightloop.response_events import OutputTextDelta, ResponseEvent
from flightloop.responses import ResponseObject
from flightloop.runs import Page, Run

def blocking(client: Flightloop) -> None:
    assert_type(client.runs.create(agent="a", input="b"), Run)
    assert_type(client.runs.list(limit=3), Page[Run])
    assert_type(client.runs.wait("r"), Run)
    assert_type(client.runs.stream("r"), Iterator[RunEvent])
    assert_type(client.chat.completions.create(model="m", messages=[]), ChatCompletion)
    assert_type(client.chat.completions.create(model="m", messages=[], stream=True), Iterator[ChatChunk])
    first = client.responses.create(model="m", input=[{"role": "user", "content": "b"}])
    assert_type(first, ResponseObject)
    again = client.responses.create(model="m", input=[{"role": "user", "content": "b"}, *first.output], stream=True)
    assert_type(again, Iterator[ResponseEvent])
    for event in again:
        if event.type == "response.output_text.delta":
            assert_type(event, OutputTextDelta)

async def waiting(client: AsyncFlightloop) -> None:
    assert_type(await client.runs.create(agent="a", input="b"), Run)
    assert_type(await client.runs.wait("r"), Run)
    assert_type(client.runs.stream("r"), AsyncIterator[RunEvent])
    assert_type(await client.chat.completions.create(model="m", messages=[]), ChatCompletion)
    assert_type(client.chat.completions.create(model="m", messages=[], stream=True), AsyncIterator[ChatChunk])
    assert_type(await client.responses.create(model="m", input="b"), ResponseObject)
    assert_type(client.responses.create(model="m", input="b", stream=True), AsyncIterator[ResponseEvent])
"""


@pytest.mark.slow
def test_both_clients_are_typed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM + "\ndef wrong(client: Flightloop) -> None:\n    client.runs.create(agnet='a', input='b')\n"
        "\nfrom flightloop import Flightlop\n"
    )
    config = Path(__file__).parents[2] / "pyproject.toml"
    report, problems, _ = api.run(["--config-file", str(config), "--cache-dir", str(tmp_path / "cache"), str(program)])
    assert problems == ""
    assert report.count("error:") == 2, report
    assert 'Module "flightloop" has no attribute "Flightlop"' in report
    assert 'Unexpected keyword argument "agnet"' in report
