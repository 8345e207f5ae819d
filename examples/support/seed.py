"""Fills the tools' data at the first start: a shop that is the same every time."""

from __future__ import annotations

from pathlib import Path

from .shop.database import FILE
from .shop.seed import reseed


def seed(data: Path) -> None:
    reseed(data / FILE)
