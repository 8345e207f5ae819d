"""Trains the routed experts and routers of a model; the base stays as it is.

The experts learn in float32 with bfloat16 products; the base's weights get no gradients of their own.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.decoder import Block, Decoder
from model.tuner import checkpoint
from model.tuner.checkpoint import Place
from model.tuner.examples import Example, Pair, total
from model.tuner.objective import Objective, Supervised, measure
from model.tuner.packing import batches
from model.tuner.preference import REFERENCE, Preference, judge
from model.weights.experts import BIAS, expert_state, save_experts

Task = Literal["supervised", "preference"]

CHECKPOINT, EXPERTS, HISTORY = "checkpoint.safetensors", "experts.safetensors", "history.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How a tuning goes.

    Attributes:
        epochs: times that every example is learned from.
        learning_rate: at its highest, after the warm-up; from there it falls along a cosine to a tenth.
        batch_tokens: of one step.
        warm_up: share of the steps.
        clip: longest gradient, as a Euclidean norm.
        decay: AdamW's weight decay (Loshchilov and Hutter, 2019).
        seed: of the order of the examples.
        recompute: whether layers are computed again for their gradients: less memory, a third more time.
        balance: how far an expert's bias moves after each step, up where it had less than its share of the tokens and
            down where it had more (Wang et al., 2024); 0: not at all.
        sharpness, anchor: of preferences, see `model.tuner.preference.Preference`.
        checkpoint_s: seconds between two checkpoints.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_tokens: int = 4096
    warm_up: float = 0.03
    clip: float = 1.0
    decay: float = 0.01
    seed: int = 0
    recompute: bool = False
    balance: float = 1e-3
    sharpness: float = 0.1
    anchor: float = 0.2
    checkpoint_s: float = 300.0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, of so many."""
        warm = max(1, round(self.warm_up * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Progress:
    """Of one step.

    Attributes:
        step, steps: done, and in all.
        loss: a learned token's mean, or a pair's, in nats.
        tokens: learned from so far, prompts included.
        tokens_per_second: since the tuning began or went on.
        busiest: the share of the busiest expert's tokens; 1 / experts is an even load.
        evaluation: loss of the held-out examples, after the last step of an epoch.
    """

    step: int
    steps: int
    loss: float
    tokens: int
    tokens_per_second: float
    busiest: float
    evaluation: float | None = None


class Tuner:
    """Tunes one model.

    Args:
        base: a mixture in float32 or bfloat16 that torch runs; its experts are trained in place.
        task: what is learned: ``"supervised"``, the answers of conversations; ``"preference"``, the better of two.
        folder: where the checkpoint, the history and at last the experts go.
        fused: whether norms and feed-forwards are compiled: a minute more at first, then up to a half faster. Asked
            for where there is no C++ compiler, it is left out.

    Raises:
        ConfigError: the model has no routed experts.
    """

    def __init__(
        self, base: Decoder, task: Task = "supervised", folder: Path = Path("tuned"), *, fused: bool = False
    ) -> None:
        if not base.config.experts:
            raise ConfigError("a dense model has no experts to train", param="model")
        self._decoder, self._task, self._folder = base.requires_grad_(False), task, folder
        self._experts = expert_state(dict(base.named_parameters()))
        for parameter in self._experts.values():
            parameter.data = parameter.data.float()
        self._trained = [value for name, value in self._experts.items() if not name.endswith(BIAS)]
        self._biases = [value for name, value in self._experts.items() if name.endswith(BIAS)]
        for parameter in self._trained:
            parameter.requires_grad_(True)
        if fused and shutil.which("g++"):
            _fuse(base)

    def fit(
        self,
        train: Sequence[Example] | Sequence[Pair],
        evaluation: Sequence[Example] = (),
        recipe: Recipe = Recipe(),
        told: Callable[[Progress], None] = lambda progress: None,
    ) -> Path:
        """Learns, or goes on where an earlier call with the same examples and recipe was interrupted.

        Args:
            train: what is learned from: pairs where preferences are the task.
            evaluation: whose answers are only measured, after each epoch.
            recipe: how.
            told: gets the progress of each step.

        Returns:
            The experts' file, for `ModelConfig.experts`.

        Raises:
            ConfigError: the folder holds a checkpoint of another tuning.
        """
        optimiser = torch.optim.AdamW(self._trained, lr=recipe.learning_rate, weight_decay=recipe.decay)
        file = self._folder / CHECKPOINT
        objective = self._objective(train, recipe)
        place = checkpoint.load(file, _digest(train, recipe), self._experts, optimiser)
        epochs = [batches(objective.items, recipe.batch_tokens, recipe.seed + epoch) for epoch in range(recipe.epochs)]
        steps = sum(map(len, epochs))
        began, before = time.monotonic(), place.tokens
        saved = began
        self._forget_after(place.steps)
        while place.epoch < recipe.epochs:
            epoch = epochs[place.epoch]
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(place.steps, steps)
            batch = epoch[place.batch]
            loss, busiest = self._step(objective, batch, optimiser, recipe)
            last = place.batch + 1 == len(epoch)
            now = time.monotonic()
            place = Place(
                place.recipe,
                place.epoch + last,
                0 if last else place.batch + 1,
                place.steps + 1,
                place.tokens + total(batch),
            )
            speed = (place.tokens - before) / (now - began)
            progress = Progress(
                place.steps, steps, loss, place.tokens, speed, busiest, self.evaluate(evaluation) if last else None
            )
            self._note(progress)
            told(progress)
            if last or now - saved > recipe.checkpoint_s:
                checkpoint.save(file, place, self._experts, optimiser)
                saved = now
        made = self._folder / EXPERTS
        save_experts(made, self._experts, {"tuned": json.dumps({**asdict(recipe), "tokens": place.tokens})})
        return made

    def evaluate(self, examples: Sequence[Example], batch_tokens: int = 4096) -> float | None:
        """Mean loss of a learned token, in nats; None without examples."""
        if not examples:
            return None
        loss = learned = 0.0
        with torch.no_grad(), self._low():
            for batch in batches(examples, batch_tokens, 0):
                measured = measure(self._decoder, batch)
                loss, learned = loss + measured.loss.item(), learned + measured.count
        return loss / learned

    def _objective(self, train: Sequence[Example] | Sequence[Pair], recipe: Recipe) -> Objective[Any]:
        if self._task == "supervised":
            return Supervised(self._decoder, cast("Sequence[Example]", train), recipe.recompute)
        with self._low():
            judged = judge(self._decoder, cast("Sequence[Pair]", train), recipe.batch_tokens, self._folder / REFERENCE)
        return Preference(self._decoder, judged, recipe.sharpness, recipe.anchor, recipe.recompute)

    def _step(
        self, objective: Objective[Any], batch: Sequence[Any], optimiser: torch.optim.Optimizer, recipe: Recipe
    ) -> tuple[float, float]:
        """One step: the mean loss, and the busiest expert's share."""
        with self._low():
            measured = objective.measure(batch)
        loss: Tensor = measured.loss / measured.count
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained, recipe.clip)
        optimiser.step()
        self._balance(measured.chosen_LE.float(), recipe.balance)
        chosen_E = measured.chosen_LE.sum(0)
        return loss.item(), float(chosen_E.max() / chosen_E.sum())

    def _balance(self, chosen_LE: Tensor, step: float) -> None:
        with torch.no_grad():
            for bias_E, chosen_E in zip(self._biases, chosen_LE, strict=True):
                bias_E += step * torch.sign(chosen_E.mean() - chosen_E)

    def _low(self) -> torch.autocast:
        """Products in bfloat16 where the base is."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._decoder.dtype == torch.bfloat16)

    def _forget_after(self, steps: int) -> None:
        """Drops what the history has of steps that a crash lost."""
        self._folder.mkdir(parents=True, exist_ok=True)
        history = self._folder / HISTORY
        lines = history.read_text().splitlines(keepends=True) if history.exists() else []
        history.write_text("".join(lines[:steps]))

    def _note(self, progress: Progress) -> None:
        with (self._folder / HISTORY).open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")


def _fuse(decoder: Decoder) -> None:
    # Attention is left out: its layer's number would make each layer a program of its own.
    for block in decoder.blocks:
        assert isinstance(block, Block)
        for module in (block.attention_norm, block.moe_norm, block.moe):
            module.compile(dynamic=True)


def _digest(train: Sequence[Example] | Sequence[Pair], recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps({**asdict(recipe), "checkpoint_s": None}).encode())
    for each in train:
        digest.update(repr(each).encode())
    return digest.hexdigest()
