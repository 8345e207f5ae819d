"""Trains routed experts and routers, or a LoRA adapter, of a model whose base stays frozen.

Trained weights are float32; matrix products are bfloat16 if the base is. The base's weights get no gradients.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.native.causal import tiled_attention
from model.nn.decoder import Block, Decoder
from model.tuner import checkpoint
from model.tuner.allocator import keep_freed_memory
from model.tuner.checkpoint import Place
from model.tuner.examples import Example, Pair, total
from model.tuner.lora import add_lora
from model.tuner.objective import Objective, Supervised, measure
from model.tuner.packing import batches
from model.tuner.preference import REFERENCE, Preference, judge
from model.tuner.sharing import grouped
from model.tuner.teaching import Teaching
from model.weights.experts import BIAS, expert_state, stored_experts
from model.weights.lora import lora_state
from model.weights.trained import save_trained

Task = Literal["supervised", "preference"]
Trained = Literal["experts", "lora", "both"]

CHECKPOINT, EXPERTS, LORA = "checkpoint.safetensors", "experts.safetensors", "lora.safetensors"
HISTORY = "history.jsonl"
SHARE = 0.5
"""Largest share of a step's tokens for a group of conversations with a common prefix. A larger share would be cheaper,
but each step should contain many kinds of conversations."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a tuning.

    Attributes:
        epochs: passes over the examples.
        learning_rate: peak rate, between the warm-up and the decay to zero (Hägele et al., 2024). Experts trained
            without the decay can be trained on more data later.
        batch_tokens: tokens per step.
        warm_up, fall: shares of the steps for warm-up and decay.
        clip: largest norm of the gradient.
        decay: AdamW's weight decay (Loshchilov and Hutter, 2019).
        seed: seed of the examples' order.
        recompute: recompute layers for their gradients: less memory, a third more time.
        balance: change of an expert's bias per step: up if it had less than its share of the tokens, down if it had
            more (Wang et al., 2024); 0: none.
        sharpness, anchor: settings of preference training, see `model.tuner.preference.Preference`.
        checkpoint_s: seconds between two checkpoints.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_tokens: int = 4096
    warm_up: float = 0.02
    fall: float = 0.4
    clip: float = 1.0
    decay: float = 0.01
    seed: int = 0
    recompute: bool = False
    balance: float = 1e-3
    sharpness: float = 0.1
    anchor: float = 0.2
    checkpoint_s: float = 300.0

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step out of ``steps``."""
        warm, fall = (max(1, round(share * steps)) for share in (self.warm_up, self.fall))
        return self.learning_rate * min(1.0, (step + 1) / warm, (steps - step) / fall)


@dataclass(frozen=True)
class Progress:
    """Progress after a step.

    Attributes:
        step, steps: numbers of completed steps and of all steps.
        loss: mean loss per learned token or per pair, in nats.
        tokens: tokens trained on so far, including prompts.
        tokens_per_second: speed since the tuning started or resumed.
        busiest: the busiest expert's share of the tokens; 1 / experts is an even load. None without experts.
        evaluation: loss of the held-out examples, after the last step of an epoch.
    """

    step: int
    steps: int
    loss: float
    tokens: int
    tokens_per_second: float
    busiest: float | None
    evaluation: float | None = None


class Tuner:
    """Tunes a model.

    Args:
        base: decoder that torch runs in float32 or bfloat16, on the training device. It is changed in place.
        task: ``"supervised"``: trains on the answers of conversations; ``"preference"``: on the better of two answers.
        folder: folder for the checkpoint, the history and the result.
        trained: ``"experts"``: routed experts and routers; ``"lora"``: a LoRA adapter for attention and for the
            feed-forward for all tokens, also in dense models; or ``"both"``.
        rank: rank of the LoRA adapter.
        fused: compile norms and feed-forwards. Takes a minute at the start, then steps are up to a half faster. Ignored
            without a C++ compiler.

    Raises:
        ConfigError: experts are to be trained, but the model has none.
    """

    def __init__(
        self,
        base: Decoder,
        task: Task = "supervised",
        folder: Path = Path("tuned"),
        *,
        trained: Trained = "experts",
        rank: int = 16,
        fused: bool = False,
    ) -> None:
        if trained != "lora" and not base.config.experts:
            raise ConfigError(
                "a dense model has no experts to train; use --trained lora (a LoRA adapter) instead", param="model"
            )
        self._decoder, self._task, self._folder = base.requires_grad_(False), task, folder
        self._device = base.embedding.weight_VD.device
        self._state: dict[str, Tensor] = {}
        self._before: str | None = None
        if trained != "lora":
            self._state |= expert_state(dict(base.named_parameters()))
        if trained != "experts":
            self._state |= add_lora(base, rank)
        for parameter in self._state.values():
            parameter.data = parameter.data.float()
        self._trained = [value for name, value in self._state.items() if not name.endswith(BIAS)]
        self._biases = [value for name, value in self._state.items() if name.endswith(BIAS)]
        for parameter in self._trained:
            parameter.requires_grad_(True)
        if fused and shutil.which("g++"):
            fuse(base)

    def fit(
        self,
        train: Sequence[Example] | Sequence[Pair],
        evaluation: Sequence[Example] = (),
        recipe: Recipe = Recipe(),
        told: Callable[[Progress], None] = lambda progress: None,
        teaching: Teaching | None = None,
    ) -> list[Path]:
        """Trains, or continues an interrupted call with the same examples and recipe.

        From then on the process keeps memory that it frees.

        Args:
            train: training examples; pairs for preferences.
            evaluation: held-out examples, measured after each epoch.
            recipe: settings.
            told: called with the progress after each step.
            teaching: a teacher's opinions on the training examples, for distillation; supervised only.

        Returns:
            Files of the trained weights, for `ModelConfig.experts` and `ModelConfig.lora`.

        Raises:
            ConfigError: the folder has a checkpoint of another tuning.
        """
        keep_freed_memory()
        with self._device:
            return self._fit(train, evaluation, recipe, told, teaching)

    def evaluate(self, examples: Sequence[Example], batch_tokens: int = 4096) -> float | None:
        """Mean loss per learned token, in nats; None without examples."""
        if not examples:
            return None
        loss = learned = 0.0
        with self._device, torch.no_grad(), self._low():
            for batch in batches(examples, batch_tokens, 0):
                measured = measure(self._decoder, batch)
                loss, learned = loss + measured.loss.item(), learned + measured.count
        return loss / learned

    def _fit(
        self,
        train: Sequence[Example] | Sequence[Pair],
        evaluation: Sequence[Example],
        recipe: Recipe,
        told: Callable[[Progress], None],
        teaching: Teaching | None,
    ) -> list[Path]:
        optimiser = torch.optim.AdamW(self._trained, lr=recipe.learning_rate, weight_decay=recipe.decay)
        file = self._folder / CHECKPOINT
        objective = self._objective(train, recipe, teaching)
        place = checkpoint.load(file, self._digest(train, recipe, teaching), self._state, optimiser)
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
                checkpoint.save(file, place, self._state, optimiser)
                saved = now
        return self._save({"tuned": json.dumps({**asdict(recipe), "tokens": place.tokens})})

    def _save(self, metadata: dict[str, str]) -> list[Path]:
        states = {EXPERTS: stored_experts(expert_state(self._state)), LORA: lora_state(self._state)}
        made = {self._folder / name: state for name, state in states.items() if state}
        for path, state in made.items():
            save_trained(path, state, metadata)
        return list(made)

    def _objective(
        self, train: Sequence[Example] | Sequence[Pair], recipe: Recipe, teaching: Teaching | None
    ) -> Objective[Any]:
        if self._task == "supervised":
            most = round(SHARE * recipe.batch_tokens)
            groups = grouped(cast("Sequence[Example]", train), most, recipe.seed)
            return Supervised(self._decoder, groups, recipe.recompute, teaching)
        file = self._folder / REFERENCE
        with self._low():
            judged = judge(self._decoder, cast("Sequence[Pair]", train), recipe.batch_tokens, file, self._base())
        return Preference(self._decoder, judged, recipe.sharpness, recipe.anchor, recipe.recompute)

    def _step(
        self, objective: Objective[Any], batch: Sequence[Any], optimiser: torch.optim.Optimizer, recipe: Recipe
    ) -> tuple[float, float | None]:
        """Runs a step and returns the mean loss and the busiest expert's share."""
        with self._low():
            measured = objective.measure(batch)
        loss: Tensor = measured.loss / measured.count
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained, recipe.clip)
        optimiser.step()
        if self._biases:
            self._balance(measured.chosen_LE.float(), recipe.balance)
        chosen_E = measured.chosen_LE.sum(0)
        return loss.item(), float(chosen_E.max() / chosen_E.sum()) if len(chosen_E) else None

    def _balance(self, chosen_LE: Tensor, step: float) -> None:
        with torch.no_grad():
            for bias_E, chosen_E in zip(self._biases, chosen_LE, strict=True):
                bias_E += step * torch.sign(chosen_E.mean() - chosen_E)

    def _low(self) -> torch.autocast:
        """Autocast context: matrix products in bfloat16 if the base is bfloat16."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._decoder.dtype == torch.bfloat16)

    def _digest(self, train: Sequence[Example] | Sequence[Pair], recipe: Recipe, teaching: Teaching | None) -> str:
        shapes = {name: list(value.shape) for name, value in self._state.items()}
        settings = {**asdict(recipe), "checkpoint_s": None, **({"teaching": teaching.weight} if teaching else {})}
        digest = hashlib.sha256(json.dumps([settings, shapes, self._base()]).encode())
        for each in train:
            digest.update(repr(each).encode())
        return digest.hexdigest()

    def _base(self) -> str:
        """Digest of the model's weights before the tuning."""
        if self._before is None:
            digest = hashlib.sha256()
            for name, value in sorted(self._decoder.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            self._before = digest.hexdigest()
        return self._before

    def _forget_after(self, steps: int) -> None:
        """Removes the steps after the checkpoint from the history, since they will run again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        history = self._folder / HISTORY
        lines = history.read_text().splitlines(keepends=True) if history.exists() else []
        history.write_text("".join(lines[:steps]))

    def _note(self, progress: Progress) -> None:
        with (self._folder / HISTORY).open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")


def fuse(decoder: Decoder) -> None:
    """Compiles norms and feed-forwards, and lets attention skip what no token sees."""
    # Attention is not compiled: its layer number would make each layer a separate program.
    tiled = None
    if decoder.dtype == torch.bfloat16 and decoder.embedding.weight_VD.device.type == "cpu":
        tiled = tiled_attention(Path(ModelConfig.cache), decoder.config.head_width)
    for block in decoder.blocks:
        assert isinstance(block, Block)
        for module in (block.attention_norm, block.moe_norm, block.moe):
            module.compile(dynamic=True)
        if tiled is not None:
            block.attention.causal = tiled
