"""The moderation client against a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from agent.config import load_settings
from agent.serve.http_server import bind, running
from agent.serve.moderation import MOST_BYTES, make_moderate, scores_of
from guardrails.rail_entries import ModerationEntry

ANSWER = {"results": [{"flagged": True, "category_scores": {"hate": 0.75, "violence": 0.25}}]}


class Endpoint:
    """A moderation server that remembers what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str | None, Any]] = []
        self.answer = Response()
        self.app = FastAPI()
        self.app.post("/v1/moderations")(self.judge)

    async def judge(self, request: Request) -> Response:
        self.seen.append((request.headers.get("authorization"), await request.json()))
        return self.answer


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    with bind("127.0.0.1", 0) as socket:
        async with running(made.app, socket):
            made.url = f"http://127.0.0.1:{socket.getsockname()[1]}/v1/moderations"
            yield made


def entry(url: str, model: str | None = None) -> ModerationEntry:
    return ModerationEntry(rail="moderation", url=url, model=model)


async def test_a_text_is_sent_with_model_and_key_and_its_scores_come_back(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = Response(
        '{"results": [{"flagged": true, "category_scores": {"hate": 0.75}}]}', media_type="application/json"
    )
    settings = load_settings(home=tmp_path).model_copy(update={"moderation_api_key": SecretStr("k")})
    scores = await make_moderate(settings)(entry(endpoint.url, "m"), "Hello.")
    assert scores == {"flagged": 1.0, "hate": 0.75}
    assert endpoint.seen == [("Bearer k", {"input": "Hello.", "model": "m"})]
    await make_moderate(load_settings(home=tmp_path))(entry(endpoint.url), "Hello.")
    assert endpoint.seen[-1] == (None, {"input": "Hello."})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Response("{}", 503), "HTTP 503"),
        (Response("{}", 307, {"location": "http://127.0.0.1:9/"}), "HTTP 307"),
        (Response("not JSON"), "Expecting value"),
        (Response("{}"), "no results"),
        (Response(b'"' + b"x" * MOST_BYTES + b'"'), "more than"),
    ],
)
async def test_any_other_answer_is_an_error(endpoint: Endpoint, tmp_path: Path, answer: Response, told: str) -> None:
    endpoint.answer = answer
    url = endpoint.url.replace("http://", "http://user:word@") + "?key=hunter2#part"
    with pytest.raises((RuntimeError, ValueError), match=told) as caught:
        await make_moderate(load_settings(home=tmp_path))(entry(url), "Hello.")
    assert "hunter2" not in str(caught.value)
    assert "word" not in str(caught.value)


def test_scores_are_the_highest_of_all_results() -> None:
    other = {"flagged": False, "category_scores": {"hate": 0.8}}
    assert scores_of({"results": [*ANSWER["results"], other]}) == {"flagged": 1.0, "hate": 0.8, "violence": 0.25}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"results": []},
        {"results": [{}]},
        {"results": [{"flagged": True, "category_scores": {"hate": 2}}]},
        {"results": [{"flagged": True, "category_scores": {"hate": "high"}}]},
        {"results": [{"flagged": True, "category_scores": {"hate": float("nan")}}]},
    ],
)
def test_an_answer_without_proper_scores_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="moderation endpoint"):
        scores_of(answer)
