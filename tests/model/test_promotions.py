from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from flightloop.errors import ConfigError
from model.tuner.gate.promotions import PromotedExperts, digest_of


@pytest.fixture
def promoted(tmp_path):
    return PromotedExperts(tmp_path / "home" / "experts.safetensors", lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def made(tmp_path):
    def make(content):
        path = tmp_path / f"{content}.safetensors"
        path.write_text(content)
        return path, digest_of(path)

    return make


def test_a_promotion_is_noted_with_what_it_was_for(promoted, made):
    path, digest = made("new")
    promoted.promote(path, digest, "no figure is worse", [{"name": "loss_all", "old": 1.0}])
    assert promoted.used.read_text() == "new"
    line = json.loads((promoted.used.parent / "experts.promotions.jsonl").read_text())
    assert line["when"] == "2030-01-02T03:04:05+00:00"
    assert (line["what"], line["digest"], line["replaced"], line["source"]) == ("promoted", digest, None, str(path))
    assert (line["reason"], line["figures"]) == ("no figure is worse", [{"name": "loss_all", "old": 1.0}])
    assert line["by"]


def test_a_file_that_changed_after_it_was_measured_is_refused(promoted, made):
    path, digest = made("measured")
    path.write_text("other")
    with pytest.raises(ConfigError, match="not the file that was measured"):
        promoted.promote(path, digest, "")
    assert promoted.log() == []
    assert [each.name for each in promoted.used.parent.iterdir()] == []


def test_the_file_in_use_is_not_promoted_again(promoted, made):
    promoted.promote(*made("a"), "")
    with pytest.raises(ConfigError, match="in use already"):
        promoted.promote(*made("a"), "")


def test_a_file_that_somebody_put_there_is_kept_but_not_undone(promoted, made):
    promoted.used.parent.mkdir()
    promoted.used.write_text("by hand")
    promoted.promote(*made("a"), "")
    promoted.undo("")
    assert promoted.used.read_text() == "by hand"
    promoted.promote(*made("a"), "")
    promoted.used.write_text("by another hand")
    with pytest.raises(ConfigError, match="not the file promoted last"):
        promoted.undo("")
    assert promoted.used.read_text() == "by another hand"


def test_a_replaced_file_that_is_gone_or_broken_leaves_all_as_it_is(promoted, made):
    _, first = made("a")
    for content in "ab":
        promoted.promote(*made(content), "")
    kept = promoted.used.parent / "experts.replaced" / f"{first}.safetensors"
    kept.write_text("broken")
    with pytest.raises(ConfigError, match="not the file"):
        promoted.undo("")
    kept.unlink()
    with pytest.raises(ConfigError, match="cannot copy"):
        promoted.undo("")
    assert promoted.used.read_text() == "b"
    assert len(promoted.log()) == 2


def test_a_broken_log_is_named(promoted):
    promoted.used.parent.mkdir()
    (promoted.used.parent / "experts.promotions.jsonl").write_text('{"when": 1}\n')
    with pytest.raises(ConfigError, match=r"promotions\.jsonl"):
        promoted.undo("")


def test_undoing_goes_back_step_by_step(tmp_path_factory):
    class Promotions(RuleBasedStateMachine):
        @initialize()
        def empty(self):
            self.folder = tmp_path_factory.mktemp("promoted")
            self.promoted = PromotedExperts(self.folder / "experts.safetensors")
            self.stack = [None]

        def used(self):
            return self.promoted.used.read_text() if self.promoted.used.exists() else None

        @rule(content=st.sampled_from("abc"))
        def promote(self, content):
            path = self.folder / content
            path.write_text(content)
            if content == self.stack[-1]:
                with pytest.raises(ConfigError, match="in use already"):
                    self.promoted.promote(path, digest_of(path), "")
            else:
                self.promoted.promote(path, digest_of(path), "")
                self.stack.append(content)
            assert self.used() == self.stack[-1]

        @precondition(lambda self: len(self.stack) > 1)
        @rule()
        def undo(self):
            self.promoted.undo("")
            self.stack.pop()
            assert self.used() == self.stack[-1]

        @precondition(lambda self: len(self.stack) == 1)
        @rule()
        def nothing_to_undo(self):
            with pytest.raises(ConfigError, match="no promotion"):
                self.promoted.undo("")

    run_state_machine_as_test(Promotions, settings=settings(max_examples=20, stateful_step_count=12, deadline=None))
