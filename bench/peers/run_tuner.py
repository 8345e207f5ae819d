"""Our tuner as a trainer (`bench.peers.training`), in our own environment: trains the embedded model's routed experts.

It runs ``Tuner.fit``, like ``python -m model.tuner fit``. The time includes everything in a step, such as its line in
the history, but not the final files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import torch

from bench.engine.quiet import only_warnings
from bench.peers.protocol import Answer, Task, serve
from bench.peers.training import read
from model.config import ModelConfig
from model.nn.decoder import Decoder
from model.tuner.examples import Example, total
from model.tuner.packing import batches
from model.tuner.tuner import Progress, Recipe, Tuner
from model.weights.load import load_model


class OurTuner:
    """Trainer for the tasks in `bench.peers.training`.

    Args:
        options: the options of all trainers.
        base: model to train in place of the embedded model, without compilation, for tests.
    """

    def __init__(self, options: Mapping[str, Any], base: Decoder | None = None) -> None:
        only_warnings()
        torch.set_num_threads(int(options["threads"]))
        self._recipe = Recipe(batch_tokens=int(options["step_tokens"]), recompute=bool(options.get("recompute")))
        examples = [Example(tuple(each.tokens), tuple(each.learned)) for each in read(Path(options["rows"]))]
        self._batches = cycle(batches(examples, self._recipe.batch_tokens, seed=0))
        self._folder = Path(options["rows"]).with_name("tuned")
        self._decoder = base or load_model(ModelConfig(dtype="bfloat16")).decoder
        self._tuner = Tuner(self._decoder, folder=self._folder, fused=base is None)

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        trained = sum(each.numel() for each in self._decoder.parameters() if each.requires_grad)
        return {"version": f"torch {version('torch')}", "trained": trained}

    def train(self, steps: int) -> Answer:
        examples = list(chain.from_iterable(islice(self._batches, steps)))
        told: list[tuple[float, Progress]] = []
        began = time.perf_counter()
        try:
            self._tuner.fit(
                examples, recipe=self._recipe, told=lambda progress: told.append((time.perf_counter(), progress))
            )
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)  # the next rows are another tuning
        ended, last = told[-1]
        tokens = total(examples)
        return {"seconds": ended - began, "tokens": tokens, "padded": tokens, "loss": last.loss}


if __name__ == "__main__":
    serve(OurTuner)
