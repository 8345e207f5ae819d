"""Errors of the reader.

```
VisionError
├── ImageRefused      the bytes are not an image that is read; the message says why and names the limit
└── VisionMissing     the optional libraries are not installed
```
"""

from __future__ import annotations

INSTALL = 'Install them with: pip install -e ".[vision]"'


class VisionError(Exception):
    """Base of the reader's errors. Messages are in plain English and quote nothing from the image."""


class ImageRefused(VisionError):
    """The file is not read: unknown format, damaged, or above a limit."""


class VisionMissing(VisionError):
    """A library of the optional group ``vision`` is missing."""

    def __init__(self, library: str) -> None:
        super().__init__(f"Reading images needs {library}, which is not installed. {INSTALL}")
