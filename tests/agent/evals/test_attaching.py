"""Tables and images that a task's turn sends along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.evals.attaching import input_of
from agent.evals.play import Model, Player
from agent.evals.task import Task, TaskError, Turn
from agent.loop.local_hosts import LocalHosts
from agent.models.chat_model import IMAGES, Capabilities
from agent.project.project import load_project
from agent.testing.fakes import RuleGuard, ScriptedChatModel
from agent.testing.images import local_images
from flightloop.cli.project import write_project
from flightloop.content import ImagePart, TablePart, TextPart
from tests.tools.vision.drawing import bar_chart

CSV = "region,units\nNorth,12\nSouth,40\n"
SEES = Capabilities(parts=frozenset({"text", IMAGES}))


def task(**turn: str) -> Task:
    return Task.model_validate(
        {"id": "a", "agent": "notes", "says": ["South"], "turns": [{"user": "Which is larger?", **turn}]}
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "sales.csv").write_text(CSV)
    (folder / "sales.png").write_bytes(bar_chart([(12, 40, 31)], ("North", "South", "East")))
    (folder / "empty.csv").write_text("")
    (tmp_path / "secret.csv").write_text(CSV)
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "away").symlink_to(tmp_path)
    return folder


async def sent(one: Task, data: Path, model: ScriptedChatModel | None = None) -> tuple[list[Any], list[Any]]:
    return await input_of(
        one.turns[0], one.turns[0].text(), one, data, local_images(), model or ScriptedChatModel([])
    )  # fmt: skip


async def test_a_turn_without_files_is_its_text(data: Path) -> None:
    assert await sent(task(), data) == ([TextPart(text="Which is larger?")], [])


async def test_a_table_and_an_image_are_sent_as_a_client_sends_them(data: Path) -> None:
    parts, [reading] = await sent(task(table="files/sales.csv", image="sales.png"), data)
    said, table, image = parts
    assert said == TextPart(text="Which is larger?")
    assert isinstance(table, TablePart)
    assert table.table.rows == [["North", "12"], ["South", "40"]]
    assert isinstance(image, ImagePart)
    assert [point.x for point in reading.series[0].points] == ["North", "South", "East"]


async def test_a_model_that_sees_reads_the_image_itself(data: Path) -> None:
    model = ScriptedChatModel([], capabilities=SEES)
    parts, readings = await sent(task(image="sales.png"), data, model)
    assert isinstance(parts[1], ImagePart)
    assert readings == []


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ({"table": "none.csv"}, "the tools' data has no file none.csv"),
        ({"table": "files"}, "is not a regular file"),
        ({"table": "link.csv"}, "link.csv in the tools' data is not a regular file"),
        ({"image": "away/secret.csv"}, "away in the tools' data is not a regular folder"),
        ({"table": "empty.csv"}, "table: is empty"),
        ({"image": "files/sales.csv"}, "the content is not PNG, JPEG or WebP"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_an_error_of_the_task(data: Path, turn: dict[str, str], told: str) -> None:
    with pytest.raises(TaskError, match=f"task a: .*{told}"):
        await sent(task(**turn), data)


def test_files_lie_in_the_tools_data() -> None:
    for name in ("/etc/passwd", "../secret.csv", ""):
        with pytest.raises(ValueError, match="relative path within the tools' data"):
            Turn.model_validate({"user": "Look.", "table": name})


async def test_a_task_with_a_missing_file_is_not_solved_and_asks_no_model(data: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    project, model, guard = load_project(tmp_path / "notes", ()), ScriptedChatModel([]), RuleGuard()
    hosts, images = LocalHosts([]), local_images()

    def fill(folder: Path) -> None:
        (folder / "sales.csv").write_text(CSV)

    playing = Player(project, Model(model, "fake"), lambda *_: hosts, lambda _: guard, fill, lambda _: images)
    async with playing:
        missing = await playing.play(task(table="none.csv"), "one.jsonl:1")
    assert missing.problems == ("one.jsonl:1: task a: the tools' data has no file none.csv",)
    assert (missing.exchanges, model.requests) == ((), [])
