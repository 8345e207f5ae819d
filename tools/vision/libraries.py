"""Lazy imports of the optional group ``vision``, so that the platform starts without it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from tools.vision.errors import VisionMissing


@cache
def opencv() -> Any:
    """The module cv2, limited to one thread. Raises VisionMissing."""
    module = _imported("cv2", "opencv-python-headless")
    module.setNumThreads(1)
    return module


def rapidocr() -> Any:
    """The module rapidocr. Raises VisionMissing."""
    return _imported("rapidocr", "rapidocr")


def pillow() -> Any:
    """The module PIL.Image. Raises VisionMissing."""
    return _imported("PIL.Image", "pillow")


def _imported(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise VisionMissing(package) from None
