"""Parses the list of models of an OpenAI-compatible server, and what it says of their input.

There is no standard for the latter. Known forms: ``parts`` (flightloop), ``input_modalities`` and
``architecture.input_modalities`` (OpenRouter), ``capabilities`` as a list with ``vision`` or ``multimodal`` (llama.cpp,
Ollama), ``capabilities.vision`` (Mistral), and the type ``vlm`` (LM Studio).
"""

from __future__ import annotations

import json
from typing import Any

from agent.models.chat_model import IMAGES
from flightloop.model_card import ModelCard

MOST_OF_LIST, MOST_MODELS = 1024**2, 1000
"""Maximum bytes and entries of a list of models."""
_SEEING = {"image", "images", "vision", "multimodal", IMAGES}


def listed_models(told: bytes) -> list[ModelCard]:
    """Parses a list of models. Raises ValueError, AttributeError, TypeError or RecursionError if it is invalid."""
    if len(told) > MOST_OF_LIST:
        raise ValueError(f"more than {MOST_OF_LIST} bytes")
    document = json.loads(told)
    listed = document.get("data", [])
    if len(listed) > MOST_MODELS:
        raise ValueError(f"more than {MOST_MODELS} models")
    # llama.cpp declares capabilities in a second list.
    second = {item.get("name"): item for item in document.get("models") or [] if isinstance(item, dict)}
    return [_card(item, second.get(item.get("id"), {})) for item in listed]


def _card(item: dict[str, Any], declared: dict[str, Any]) -> ModelCard:
    card = ModelCard.model_validate({"owned_by": "remote", **item, "parts": ["text"]})
    return card.model_copy(update={"parts": ["text", IMAGES]}) if _sees(item) or _sees(declared) else card


def _sees(item: dict[str, Any]) -> bool:
    architecture = item.get("architecture")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    told = item.get("capabilities")
    if isinstance(told, dict):
        told = [name for name, has in told.items() if has is True]
    named = (item.get("parts"), item.get("input_modalities"), modalities, told)
    words = {word for one in named if isinstance(one, list) for word in one if isinstance(word, str)}
    return bool(words & _SEEING) or item.get("type") == "vlm"
