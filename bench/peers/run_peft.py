"""Hugging Face transformers and peft as a trainer (`bench.peers.training`), in the environment of transformers.

Additional options: ``model``, a checkpoint folder; ``trained``: ``adapters`` (LoRA, Hu et al., 2021, on all projections
of all layers; the base in bfloat16, the adapters in float32) or ``everything`` (all parameters, in float32);
``scored``, the rows that reach the output layer: ``answers``, those whose next token is learned, or ``all``, as in the
library's own loss; ``compiled``: compile the layers.

Rows are padded on the right to the longest of a batch. With ``answers`` there is no mask: in causal attention, no token
sees the padding to its right. Matrix products are in bfloat16.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import peft  # type: ignore[import-not-found, unused-ignore]
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from bench.peers.protocol import Answer, Task, serve
from bench.peers.training import Lesson, by_length, read

RANK = 32
"""9.8 M parameters of SmolLM2-135M, about as many as our experts have (10.1 M)."""
LEARNING_RATE, DECAY, CLIP = 1e-4, 0.01, 1.0
_NOT_SCORED = -100


class Peft:
    """Trainer for the tasks in `bench.peers.training`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(int(options.get("threads") or os.cpu_count() or 1))
        torch.manual_seed(0)
        self._adapted = options.get("trained", "adapters") == "adapters"
        self._scored = options.get("scored", "answers")
        self._causal = self._loaded(Path(options["model"]))
        if options.get("recompute"):
            self._causal.activation_checkpointing_enable({"use_reentrant": False})
        self._causal.train()
        if options.get("compiled"):
            for layer in self._causal.model.layers:
                layer.compile(dynamic=True)
        self._trained = [each for each in self._causal.parameters() if each.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, lr=LEARNING_RATE, weight_decay=DECAY, fused=True)
        self._batches = cycle(by_length(read(Path(options["rows"])), int(options["step_tokens"]), seed=0))

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {
            "version": f"transformers {transformers.__version__}, peft {version('peft')}, torch {torch.__version__}",
            "trained": sum(each.numel() for each in self._trained),
        }

    def train(self, steps: int) -> Answer:
        loss, tokens, padded = 0.0, 0, 0
        began = time.perf_counter()
        for batch in islice(self._batches, steps):
            loss = self._step(batch)
            tokens += sum(map(len, batch))
            padded += len(batch) * max(map(len, batch))
        return {"seconds": time.perf_counter() - began, "tokens": tokens, "padded": padded, "loss": loss}

    def _loaded(self, folder: Path) -> Any:
        """The causal model, with adapters if these are trained."""
        dtype = torch.bfloat16 if self._adapted else torch.float32
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        if self._adapted:
            config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
            model = peft.get_peft_model(model, config).get_base_model()
        return model

    def _step(self, batch: Sequence[Lesson]) -> float:
        tokens_ST, learned_ST = _padded(batch)
        with torch.autocast("cpu", torch.bfloat16):
            if self._scored == "all":
                loss = self._of_all(batch, tokens_ST, learned_ST)
            else:
                loss = self._of_answers(tokens_ST, learned_ST)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._optimiser.step()
        return loss.item()

    def _of_all(self, batch: Sequence[Lesson], tokens_ST: Tensor, learned_ST: Tensor) -> Tensor:
        """The library's own loss."""
        lengths_S1 = torch.tensor([[len(lesson)] for lesson in batch])
        mask_ST = (torch.arange(tokens_ST.shape[1]) < lengths_S1).long()
        labels_ST = tokens_ST.masked_fill(~learned_ST, _NOT_SCORED)
        loss: Tensor = self._causal(tokens_ST, attention_mask=mask_ST, labels=labels_ST, use_cache=False).loss
        return loss

    def _of_answers(self, tokens_ST: Tensor, learned_ST: Tensor) -> Tensor:
        hidden_STD = self._causal.model(tokens_ST, use_cache=False).last_hidden_state
        logits_NV = self._causal.lm_head(hidden_STD[:, :-1][learned_ST[:, 1:]])
        return functional.cross_entropy(logits_NV.float(), tokens_ST[:, 1:][learned_ST[:, 1:]])


def _padded(batch: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """Token ids (S, T), and which of them are learned (S, T)."""
    width = max(map(len, batch))
    tokens = [[*lesson.tokens, *[0] * (width - len(lesson))] for lesson in batch]
    learned = [[*lesson.learned, *[False] * (width - len(lesson))] for lesson in batch]
    return torch.tensor(tokens), torch.tensor(learned)


if __name__ == "__main__":
    serve(Peft)
