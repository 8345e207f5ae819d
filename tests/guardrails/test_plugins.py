"""Rails of installed packages: found by entry point, and failing closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.types import Checked, GuardContext, Ruling

PACKAGE = """
import asyncio

from flightloop.verdicts import Action, Verdict
from guardrails.types import Judgement


def no_word(options):
    word = options["word"]

    async def check(checked):
        found = word in checked.text
        action = Action.BLOCK if found else Action.ALLOW
        return Judgement((Verdict(action=action, rail="acme", stage=checked.stage, reason=word if found else ""),))

    return check


def broken(options):
    raise ValueError("bad options")


def nothing(options):
    return None


def odd(options):
    async def check(checked):
        return True

    return check


def slow(options):
    async def check(checked):
        await asyncio.Event().wait()

    return check
"""
NAMES = ("no_word", "broken", "nothing", "odd", "slow")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_rails.py").write_text(PACKAGE)
    info = tmp_path / "acme_rails-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rails\nVersion: 1.0\n")
    lines = "".join(f"{name} = acme_rails:{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[flightloop.rails]\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))


async def judged(text: str, name: str, more: str = "") -> Ruling:
    rails = f"[{{rail: plugin, name: {name}{more}}}]"
    policy = parse_policy(f'name: p\nversion: "1"\nstages:\n  input: {{timeout_ms: 60000, rails: {rails}}}\n')
    return await Guard(policy).check(Checked(Stage.INPUT, text, GuardContext()))


@pytest.mark.usefixtures("installed")
async def test_a_package_s_rail_judges_with_its_options() -> None:
    assert (await judged("a fine text", "no_word", ", options: {word: secret}")).action is Action.ALLOW
    ruling = await judged("a secret text", "no_word", ", options: {word: secret}")
    assert ruling.action is Action.BLOCK
    assert ruling.reason == "acme: secret"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("unknown", "", "no installed package has it in its entry points of flightloop.rails; known: broken, no_word"),
        ("broken", "", "ValueError: bad options"),
        ("no_word", "", "KeyError"),
        ("nothing", "", "its factory returned NoneType, not a rail"),
        ("odd", "", "made no decision"),
        ("slow", ", timeout_ms: 1", "took longer than 1 ms"),
    ],
)
async def test_whatever_goes_wrong_blocks(name: str, more: str, told: str) -> None:
    ruling = await judged("a fine text", name, more)
    assert ruling.action is Action.BLOCK
    assert told in ruling.reason
