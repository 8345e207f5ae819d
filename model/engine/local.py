"""What computes the steps of a model in this process, with a KV cache of its own."""

from __future__ import annotations

import os
from pathlib import Path

import structlog
import torch

from model.config import ModelConfig, resolve_kv_blocks, resolve_threads
from model.engine.block_groups import window_blocks
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, Runner
from model.native.runner import NativeRunner
from model.weights.loaded import LoadedModel

log = structlog.get_logger(__name__)


def local_runner(loaded: LoadedModel, config: ModelConfig) -> Runner:
    """Runs it by the kernels if it was loaded for them, else by torch.

    Raises:
        ConfigError: the kernels can't be compiled.
    """
    dtype = torch.bfloat16 if loaded.form.kernels else loaded.decoder.dtype
    blocks = resolve_kv_blocks(config)
    kv = kv_cache(loaded.config, dtype, blocks, config.block_size, window_blocks(loaded.config, config))
    if not loaded.form.kernels:
        log.info("torch runs the model", model=loaded.name, threads=torch.get_num_threads(), kv_blocks=blocks)
        return LocalRunner(loaded.decoder, kv)
    threads = resolve_threads(config.threads, os.cpu_count() or 1)
    log.info("kernels run the model", model=loaded.name, threads=threads, waiting="spin, then sleep", kv_blocks=blocks)
    return NativeRunner(loaded.decoder, kv, threads, Path(config.cache).expanduser())
