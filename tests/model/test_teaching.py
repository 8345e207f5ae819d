"""Distillation: what a teacher's file holds, what it does to the loss, and that interrupted work goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from flightloop.errors import ConfigError
from model.nn.decoder import Decoder
from model.tuner import teaching
from model.tuner.examples import Example
from model.tuner.objective import Opinion, measure, opinions
from model.tuner.teaching import KEPT, read_teaching, write_opinions
from model.tuner.tuner import Recipe, Tuner
from model.weights.experts import expert_state
from model.weights.tiny import TINY, random_decoder


def examples(count: int) -> list[Example]:
    """Conversations with a common beginning and two answers of different lengths."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for number in range(count):
        text = torch.randint(0, TINY.vocab, (20 + number % 3,), generator=generator).tolist()
        learned = [place % 7 in (3, 4) or place > 15 for place in range(len(text))]
        made.append(Example((*range(70), *text), (*[False] * 70, *learned)))
    return made


def student() -> Decoder:
    decoder = random_decoder(TINY, 5)
    for name, value in expert_state(decoder.state_dict()).items():
        if "down" in name:
            value.zero_()
    return decoder


def answering(example: Example, token: int) -> Example:
    """The example up to its first learned token, with another token there."""
    first = example.learned.index(True)
    return Example((*example.tokens[:first], token), (*[False] * first, True))


def test_the_file_has_the_teachers_likeliest_tokens(tmp_path: Path) -> None:
    teacher, rows = random_decoder(TINY, 9), examples(4)
    write_opinions(teacher, rows, 400, tmp_path / "taught.safetensors")
    found = read_teaching(tmp_path / "taught.safetensors", rows, 0.5)
    for row in rows:
        opinion = found.of((row,))
        assert opinion.log_NK.shape == opinion.token_NK.shape == (sum(row.learned), KEPT)
        tokens, held = opinion.token_NK[0].tolist(), opinion.log_NK[0].tolist()
        assert held == sorted(held, reverse=True)
        alone = [
            -measure(teacher, (answering(row, token),)).loss.item() for token in (*tokens[:3], (tokens[0] + 1) % 50)
        ]
        assert alone[:3] == pytest.approx(held[:3], abs=2e-2)
        assert alone[3] <= held[0] + 2e-2


def test_a_teachers_share_of_the_loss_is_the_divergence_from_it(tmp_path: Path) -> None:
    teacher, decoder, rows = random_decoder(TINY, 9), student(), examples(4)
    write_opinions(teacher, rows, 400, tmp_path / "taught.safetensors")

    def loss(weight: float, taught: Decoder) -> float:
        write_opinions(taught, rows, 400, tmp_path / f"{id(taught)}.safetensors")
        held = read_teaching(tmp_path / f"{id(taught)}.safetensors", rows, weight)
        return measure(decoder, tuple(rows), teaching=held).loss.item()

    plain = measure(decoder, tuple(rows)).loss.item()
    assert loss(0.0, teacher) == pytest.approx(plain, rel=1e-5)
    assert loss(1.0, decoder) == pytest.approx(0.0, abs=0.02)
    apart = loss(1.0, teacher)
    assert apart > 0.1
    assert loss(0.25, teacher) == pytest.approx(0.75 * plain + 0.25 * apart, rel=1e-4)


def test_the_divergence_is_pytorchs_if_all_tokens_are_kept() -> None:
    class Whole:
        weight = 1.0

        def of(self, batch: tuple[Example, ...]) -> Opinion:
            return opinions(teacher, batch, TINY.vocab)

    def logs(decoder: Decoder) -> torch.Tensor:
        made = opinions(decoder, (row,), TINY.vocab)
        return torch.empty_like(made.log_NK).scatter(-1, made.token_NK, made.log_NK)

    teacher, decoder, row = random_decoder(TINY, 9), student(), examples(1)[0]
    with torch.no_grad():
        expected = functional.kl_div(logs(decoder), logs(teacher), reduction="sum", log_target=True)
        assert measure(decoder, (row,), teaching=Whole()).loss.item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_taught_student_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    teacher, decoder, rows = random_decoder(TINY, 9), student(), examples(8)
    write_opinions(teacher, rows, 400, tmp_path / "taught.safetensors")
    held = read_teaching(tmp_path / "taught.safetensors", rows, 1.0)
    before = measure(decoder, tuple(rows), teaching=held).loss.item()
    recipe = Recipe(epochs=6, learning_rate=0.02, batch_tokens=256)
    Tuner(decoder, folder=tmp_path).fit(rows, recipe=recipe, teaching=held)
    assert measure(decoder, tuple(rows), teaching=held).loss.item() < 0.8 * before


def test_another_share_is_another_tuning(tmp_path: Path) -> None:
    rows, recipe = examples(3), Recipe(batch_tokens=256)
    write_opinions(random_decoder(TINY, 9), rows, 400, tmp_path / "taught.safetensors")
    half, all_of_it = (read_teaching(tmp_path / "taught.safetensors", rows, weight) for weight in (0.5, 1.0))
    Tuner(student(), folder=tmp_path).fit(rows, recipe=recipe, teaching=half)
    for other in (all_of_it, None):
        with pytest.raises(ConfigError, match="other data or settings"):
            Tuner(student(), folder=tmp_path).fit(rows, recipe=recipe, teaching=other)


class Crash(Exception):
    pass


def test_an_interrupted_teacher_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, rows, file = random_decoder(TINY, 9), examples(9), tmp_path / "taught.safetensors"
    write_opinions(teacher, rows, 220, tmp_path / "whole.safetensors")
    monkeypatch.setattr(teaching, "SAVED_S", 0.0)
    told: list[int] = []

    def stop(done: int) -> None:
        told.append(done)
        if len(told) == 3:
            raise Crash

    with pytest.raises(Crash):
        write_opinions(teacher, rows, 220, file, stop)
    with pytest.raises(ConfigError, match="unfinished"):
        read_teaching(file, rows, 0.5)
    write_opinions(teacher, rows, 220, file, told.append)
    assert told[:2] == sorted(told[:2])
    assert told[3:] == sorted(told[3:])
    assert told[2] == told[3]  # the third batch was not saved: it was done again
    assert told[-1] == len(rows)
    resumed, whole = load_file(file), load_file(tmp_path / "whole.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_wrong_file_is_told(tmp_path: Path) -> None:
    rows, file = examples(3), tmp_path / "taught.safetensors"
    write_opinions(random_decoder(TINY, 9), rows, 400, file)
    with pytest.raises(ConfigError, match="other rows"):
        read_teaching(file, rows[:2], 0.5)
    file.write_bytes(b"garbage")
    for use in (read_teaching, lambda *given: write_opinions(random_decoder(TINY, 9), rows, 400, file)):
        with pytest.raises(ConfigError, match="can't be read"):
            use(file, rows, 0.5)
