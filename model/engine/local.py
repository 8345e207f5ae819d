"""Creates a runner that computes a model's steps in this process, with its own KV cache."""

from __future__ import annotations

import os
from pathlib import Path

import structlog
import torch

from model.config import ModelConfig, resolve_kv_blocks, resolve_threads
from model.engine.block_groups import window_blocks
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, Runner
from model.native.cache import QuantisedCache
from model.native.kinds import chosen
from model.native.runner import NativeRunner
from model.weights.loaded import LoadedModel

log = structlog.get_logger(__name__)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_runner(loaded: LoadedModel, config: ModelConfig) -> Runner:
    """Creates a runner on the kernels if the model was loaded for them, else on torch. Sets torch's thread count.

    Raises:
        ConfigError: the kernels can't be compiled.
    """
    blocks, near = resolve_kv_blocks(config), window_blocks(loaded.config, config)
    threads = resolve_threads(config.threads, available_cores(), kernels=loaded.form.kernels)
    facts = {"model": loaded.name, "format": loaded.form.dtype, "threads": threads, "kv_blocks": blocks}
    if not loaded.form.kernels:
        torch.set_num_threads(threads)
        reason = loaded.form.obstacle
        if reason is None:
            log.info("torch runs the model", waiting="spin", **facts)
        else:
            log.warning("torch runs the model, several times slower than the kernels would", reason=reason, **facts)
        kv = kv_cache(loaded.config, loaded.decoder.dtype, blocks, config.block_size, near)
        return LocalRunner(loaded.decoder, kv)
    torch.set_num_threads(1)  # its spinning threads would take cores from the kernels
    kind = chosen(loaded.form.kind)
    log.info("kernels run the model", kernels=kind and kind.name, waiting="spin, then sleep", pinning="none", **facts)
    quantised = QuantisedCache(loaded.config, blocks, config.block_size, near)
    return NativeRunner(loaded.packed, quantised, threads, Path(config.cache).expanduser(), loaded.form.kind)
