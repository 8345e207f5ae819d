"""Fills the tools' data folder at the first start, with the same shop every time."""

from __future__ import annotations

from pathlib import Path

from .shop.database import FILE
from .shop.seed import reseed


def seed(data: Path) -> None:
    reseed(data / FILE)
