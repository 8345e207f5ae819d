"""Evaluations while the platform's emergency stop is latched."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from agent.admin.evals import Wish, evaluate
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.errors import Interrupted
from tests.agent.evals.test_evals import HEARD, PLANNED, folder, settings

__all__ = ["folder"]


async def test_a_latched_stop_ends_the_evaluation_and_says_how_to_lift_it(folder: Path) -> None:
    lines = [json.dumps(HEARD | {"id": name, "recorded": []}) for name in ("good", "bad", "worse")]
    (folder / "tasks" / "first.jsonl").write_text("\n".join(lines))
    told = {"message": "interrupt int_7f stops everything (drill); clear it to continue", "code": "interrupted"}
    server = ScriptedServer(
        PLANNED, ScriptedAnswer(text="The dentist."), ScriptedAnswer(status=423, body={"error": told})
    )
    async with server.serving() as url:
        with pytest.raises(Interrupted, match=r"task bad: .*stop int_7f.*flightloop stop --clear int_7f"):
            await evaluate(settings(folder, url), Wish(), Console(file=io.StringIO()))
    assert len([one for one in server.requests if one["messages"]]) == 3
