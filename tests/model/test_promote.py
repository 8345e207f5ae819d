"""The command from figures to verdict, on a tiny model."""

from __future__ import annotations

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flightloop.errors import ConfigError
from model.tuner.__main__ import app
from model.tuner.data.row import write_rows
from model.tuner.gate.command import compare, reason_for, table
from model.tuner.gate.figure import Allowance, Figure, Verdict
from model.tuner.gate.promotions import PromotedExperts, digest_of
from model.weights.experts import expert_state, load_experts
from model.weights.tiny import TINY, tiny_model
from model.weights.trained import save_trained

WORSE = Figure("loss_text", 1.0, 1.5, (0.4, 0.6), higher_is_better=False, allowed=0.01, cases=30)
OPEN = Figure("perplexity_ratio", 20.0, 21.0, None, higher_is_better=False, allowed=0.01)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    said = [
        [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"{n}, then."}] for n in range(24)
    ]
    write_rows(path, [{"messages": messages} for messages in said])
    return path


@pytest.fixture
def experts(tmp_path):
    """Of other random weights than the model's own."""
    path = tmp_path / "experts.safetensors"
    save_trained(path, expert_state(tiny_model(7).decoder.state_dict()))
    return path


def load(experts):
    model = tiny_model(3)
    state = load_experts(experts, TINY) if experts else expert_state(model.decoder.state_dict())
    model.decoder.load_state_dict(state, strict=False)
    return model


def test_experts_are_compared_with_those_in_use(rows, experts):
    console, allowance = Console(quiet=True), Allowance(0.01, {})
    there = compare(console, load, experts, None, rows, 200, allowance, 0)
    back = compare(console, load, experts, experts, rows, 200, allowance, 0)
    assert [figure.name for figure in there] == ["loss_all", "exact_all", "loss_text", "exact_text"]
    assert all(figure.interval is not None for figure in there)
    assert there[0].difference != 0
    assert {figure.difference for figure in back} == {0.0}
    assert there[0].new == back[0].old


def test_what_is_worse_needs_a_reason():
    assert reason_for([OPEN], None) == "no figure is worse"
    with pytest.raises(ConfigError, match="worse in loss_text; use --force"):
        reason_for([OPEN, WORSE], None)
    assert reason_for([WORSE], "a new format") == "forced: a new format"


def test_the_table_has_a_line_and_a_verdict_for_each_figure():
    made = table([WORSE, OPEN], "old.safetensors", "new.safetensors")
    cells = [list(column.cells) for column in made.columns]
    assert cells[0] == ["loss_text", "perplexity_ratio"]
    assert cells[-1] == [Verdict.WORSE, Verdict.OPEN]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give the new experts"),
        (("nowhere.safetensors", "--evaluation", "ROWS"), "file not found: nowhere"),
        (("EXPERTS", "--evaluation", "ROWS", "--bench", "ROWS"), "has no bench rows"),
        (("EXPERTS", "--evaluation", "ROWS", "--allow", "loss_all"), "must be NAME=WORSE"),
        (("EXPERTS", "--evaluation", "ROWS", "--allow", "lost=1"), "unknown figure lost"),
        (("--undo",), "no promotion to undo"),
    ],
)
def test_what_cannot_be_decided_is_one_line(rows, experts, tmp_path, arguments, says):
    given = [{"ROWS": str(rows), "EXPERTS": str(experts)}.get(each, each) for each in arguments]
    used = tmp_path / "home" / "experts.safetensors"
    done = CliRunner().invoke(app, ["promote", *given, "--to", str(used)])
    assert done.exit_code == 1
    assert says in done.output
    assert not used.exists()


def test_a_promotion_is_undone_from_the_command_line(experts, tmp_path):
    promoted = PromotedExperts(tmp_path / "home" / "experts.safetensors")
    promoted.promote(experts, digest_of(experts), "")
    done = CliRunner().invoke(app, ["promote", "--undo", "--to", str(promoted.used)])
    assert done.exit_code == 0, done.output
    assert "undone: the shipped experts" in done.output
    assert not promoted.used.exists()
