"""Tasks that are played against a running platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.evals.task import Task, TaskError
from agent.testing.conversations import CONVERSATIONS
from agent.testing.scene import shop
from bench.play import Player, say
from flightloop import Flightloop
from flightloop.events import RunEvent, ToolIntent


@pytest.mark.parametrize("approve", [True, False])
def test_the_operator_decides_as_the_task_says(approve: bool) -> None:
    asks = next(one for one in CONVERSATIONS if one.waits)
    told: list[RunEvent] = []
    with shop(4) as platform, Flightloop(platform.url, platform.api_key) as client:
        run = say(client, "support", "s", asks.asked, told.append, approve=approve)
    assert run.stop_reason == ("answered" if approve else "escalated")
    refunds = [event for event in told if isinstance(event, ToolIntent) and event.tool == "pay_back"]
    assert bool(refunds) is approve


TASK = {"id": "a", "agent": "support", "turns": [{"user": "Hi"}], "answer": ["."]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database": "notes.db"}, "notes.db is not the shop's"),
        ({"expect": [{"sql": "SELECT 1", "rows": [[1]], "database": "notes.db"}]}, "notes.db is not the shop's"),
        ({"recorded": []}, "has recorded results"),
        ({"turns": [{"user": "Hi", "image": "a.png"}]}, "sends a table or an image"),
        ({"turns": [{"user": "Hi", "says": ["hi"]}]}, "a turn has expectations"),
    ],
)
def test_a_task_that_needs_more_than_the_shop_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with Flightloop("http://127.0.0.1:1", "test-key") as client:
        player = Player(client, tmp_path / "shop.db")
        with pytest.raises(TaskError, match=said):
            player.play(Task.model_validate(TASK | change))
    assert not (tmp_path / "shop.db").exists()
