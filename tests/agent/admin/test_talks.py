"""Written talks of a project: rows with the agent's instructions and tools, and mistakes that are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.admin.talks import TALKS, talk_rows, write_talks
from agent.config import Settings
from agent.project.project import Project, load_project
from flightloop.errors import ConfigError

AGENT = """
name: desk
instructions: |
  You lend books. Be brief.
tools: [copies]
policy: desk
"""
POLICY = """
name: desk
version: "1"
tools:
  allow:
    desk: [copies]
"""
TOOLS = '''
from flightloop.tool import tool


@tool(effect="pure")
def copies(book: int) -> int:
    """How many copies of a book are on the shelf."""
    return book


TOOLS = (copies,)
'''
TALK = """
- - user: how many copies of book 7 do you have
    goal: count the copies of book 7
  - call: copies
    with: {book: 7}
    gives: 3
  - say: We have 3 copies of it.
  - user: and of 8?
    goal: count the copies of book 8
  - call: copies
    with: {book: 8}
    fails: timed out
  - say: I could not look that up. Shall I try again?
- - user: thanks
    goal: close
  - say: You're welcome.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"agents/desk.yaml": AGENT, "policies/desk.yaml": POLICY, "tools.py": TOOLS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / TALKS).mkdir(parents=True)
    return tmp_path


def project(folder: Path, text: str, name: str = "desk") -> Project:
    (folder / TALKS / f"{name}.yaml").write_text(text)
    return load_project(folder, ())


async def test_each_turn_is_a_row_of_the_agents_own_prompt(folder: Path) -> None:
    rows = await talk_rows(project(folder, TALK), 0)
    assert [row["intent"] for row in rows] == ["desk 1", "desk 1", "desk 2"]
    first, second, _ = ([m for m in row["messages"] if m.get("name") != "plan"] for row in rows)
    assert first[0] == {"role": "system", "content": "You lend books. Be brief."}
    assert [message["role"] for message in first] == ["system", "user", "assistant", "tool", "assistant"]
    assert second[1:3] == [
        {"role": "user", "content": "how many copies of book 7 do you have"},
        {"role": "assistant", "content": "We have 3 copies of it.", "weight": 0},
    ]
    assert second[-2]["content"] == "error: timed out"
    [tool] = rows[0]["tools"]
    assert tool["function"]["parameters"]["required"] == ["book"]
    plans = [m for seed in range(9) for row in await talk_rows(project(folder, TALK), seed) for m in row["messages"]]
    assert {"goal": "count the copies of book 7", "tools": ["copies"]} in [
        json.loads(message["content"]) for message in plans if message.get("name") == "plan"
    ]


async def test_an_agent_that_does_not_plan_learns_no_plans(folder: Path) -> None:
    (folder / "agents/desk.yaml").write_text(f"{AGENT}planning: false\n")
    rows = [row for seed in range(9) for row in await talk_rows(project(folder, TALK), seed)]
    assert not [message for row in rows for message in row["messages"] if message.get("name") == "plan"]


async def test_a_project_without_talks_has_no_rows(folder: Path) -> None:
    assert await talk_rows(load_project(folder, ()), 0) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be a list of talks"),
        ("- - [", "cannot be read"),
        ("desk: x", "must be a list of talks"),
        (TALK.replace("call: copies", "call: lend", 1), "talk 1: there is no tool lend"),
        (TALK.replace("{book: 7}", "{book: seven}"), "talk 1: a call does not fit its tool's schema"),
        (f"{TALK}- - user: bye\n", "talk 3: a talk must end in an answer|talk 3: a text or a goal"),
    ],
)
async def test_a_mistake_is_told_with_its_place(folder: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"desk\.yaml.*(?:{why})"):
        await talk_rows(project(folder, text), 0)


async def test_rows_are_written(folder: Path) -> None:
    settings = Settings(home=folder / "home", project=folder)
    with pytest.raises(ConfigError, match="has no talks"):
        await write_talks(settings, 0, folder / "rows.jsonl", print)
    project(folder, TALK)
    told: list[str] = []
    await write_talks(settings, 0, folder / "rows.jsonl", told.append)
    assert told == [f"3 rows in {folder / 'rows.jsonl'}"]
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 3


async def test_a_file_of_no_agent_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"clerk\.yaml.*a file has its agent's name"):
        await talk_rows(project(folder, TALK, "clerk"), 0)
