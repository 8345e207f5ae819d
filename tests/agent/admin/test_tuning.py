"""``python -m agent tune``: the example project's lessons, on a tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.admin import tuning
from agent.admin.tuning import GENERAL, PROJECT, TRAIN, Wish, tune_project
from agent.config import Settings
from flightloop.errors import ConfigError
from model.config import promoted_experts
from model.tuner.gate.figure import Figure
from model.tuner.gate.promotions import PromotedExperts, digest_of
from model.tuner.tuner import EXPERTS, Tuner
from model.weights.experts import load_experts
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, tiny_model


def tiny(model: str, experts: Path | None) -> LoadedModel:
    assert model == "edge"
    made = tiny_model(3)
    if experts:
        made.decoder.load_state_dict(load_experts(experts, TINY), strict=False)
    return made


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncompiled(decoder: Any, task: Any, folder: Path, *, fused: bool) -> Tuner:
        assert fused
        return Tuner(decoder, task, folder)

    monkeypatch.setattr(tuning, "loaded", tiny)
    monkeypatch.setattr(tuning, "Tuner", uncompiled)


def asked(row: dict[str, Any]) -> str:
    return next(str(message["content"]) for message in row["messages"] if message["role"] == "user")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With the tiny model's experts in use."""
    monkeypatch.setattr(Settings, "experts", property(lambda own: promoted(own) if promoted(own).exists() else None))
    return Settings(home=tmp_path / "home", model="edge")


def promoted(settings: Settings) -> Path:
    return settings.home / promoted_experts("edge")


async def test_a_project_is_trained_on_its_lessons_and_promoted(settings: Settings, tmp_path: Path) -> None:
    told: list[str] = []
    wish = Wish(tmp_path / "tuning", lessons=24, force="tiny models learn little")
    await tune_project(settings, wish, told.append)
    train, project, general = (rows(wish.out / name) for name in (TRAIN, PROJECT, GENERAL))
    own = [row for row in train if row["source"] != "composed"]
    assert len(own) + len(project) <= 24
    assert len(project) == len(general) > 0
    assert len(train) - len(own) == round(len(own) / 2)
    assert not [row for row in [*project, *general] if row in train]
    assert not {asked(row) for row in own} & {asked(row) for row in project}
    assert digest_of(promoted(settings)) == digest_of(wish.out / EXPERTS)
    names = {figure["name"] for figure in PromotedExperts(promoted(settings)).log()[0].figures}
    assert {"project_loss_all", "general_loss_all"} <= names
    assert [line for line in told if "the platform uses them from its next start" in line]
    with pytest.raises(ConfigError, match="a tuning with other experts; give a new folder"):
        await tune_project(settings, wish, told.append)


@pytest.mark.parametrize(
    ("changed", "named"), [({"seed": 1}, "seed"), ({"lessons": 30, "tenant": "b"}, "lessons, tenant")]
)
async def test_a_folder_is_that_of_one_tuning(
    changed: dict[str, Any], named: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "compare", lambda *given: [])
    wish = Wish(tmp_path / "tuning", lessons=24)
    with pytest.raises(ConfigError, match="too few usable rows"):
        await tune_project(settings, wish, print)
    with pytest.raises(ConfigError, match=f"other {named};"):
        await tune_project(settings, replace(wish, **changed), print)


async def test_experts_that_would_not_be_used_are_not_trained(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"model_experts": tmp_path / "own.safetensors"})
    with pytest.raises(ConfigError, match="unset FLIGHTLOOP_MODEL_EXPERTS"):
        await tune_project(other, Wish(tmp_path / "tuning"), print)


async def test_worse_experts_are_not_used(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [Figure("loss_call", 1.0, 1.5, (0.4, 0.6), higher_is_better=False, allowed=0.01, cases=30)]
    monkeypatch.setattr(tuning, "compare", lambda *given: figures)
    wish = Wish(tmp_path / "tuning", lessons=24)
    with pytest.raises(ConfigError, match="worse in project_loss_call, general_loss_call"):
        await tune_project(settings, wish, print)
    figures[:] = [replace(figures[0], interval=None)]
    with pytest.raises(ConfigError, match="too few usable rows"):
        await tune_project(settings, wish, print)
    assert not promoted(settings).exists()


async def test_a_project_without_lessons_and_runs_is_told_what_to_do(settings: Settings, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "agents").mkdir(parents=True)
    (project / "agents" / "clerk.yaml").write_text("name: clerk\ninstructions: Be brief.\n")
    bare = settings.model_copy(update={"project": project})
    with pytest.raises(ConfigError, match=r"write some in lessons/talks/AGENT\.yaml"):
        await tune_project(bare, Wish(tmp_path / "tuning"), print)


async def test_models_without_experts_are_refused(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"model": "some/model"})
    with pytest.raises(ConfigError, match="only an embedded model"):
        await tune_project(other, Wish(tmp_path / "tuning"), print)
