"""Tool that reads a chart, a table or text from an image file of the project.

The file must lie in the folder of the tools' data or in the project's folder; symbolic links are not followed. The
libraries are imported at the first call, since most agents read no images.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import ToolContext, ToolRefused, tool


@tool(effect="pure", timeout_s=60, returns_untrusted=True)
def read_image(
    context: ToolContext, path: Annotated[str, Field(min_length=1, max_length=300)], with_chart: bool = False
) -> Any:
    """Read a chart, a table or the text from a PNG, JPEG or WebP file of the project.

    Args:
        path: the file, relative to the project's folder
        with_chart: whether to return a Vega-Lite specification of the advised chart too
    """
    from tools.builtin.image_reading import described
    from tools.vision import ImageRefused, VisionMissing
    from tools.vision import read_image as reading_of
    from tools.vision.images import LIMITS

    data = _content(context, path, LIMITS.file_bytes + 1)
    try:
        return described(reading_of(data), with_chart=with_chart)
    except (ImageRefused, VisionMissing) as error:
        raise ToolRefused(f"{path}: {error}") from None


def _content(context: ToolContext, path: str, most: int) -> bytes:
    """At most ``most`` bytes of a file below the tools' data or the project's folder."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts or "\0" in path:
        raise ToolRefused(f"{path!r} must be a path inside the project's folder, without '..'.")
    for folder in (context.data, context.project.folder):
        if folder is not None and (data := _read(folder, parts, most)) is not None:
            return data
    raise ToolRefused(f"There is no file {path!r} in the project's folder. Symbolic links are not followed.")


def _read(folder: Path, parts: tuple[str, ...], most: int) -> bytes | None:
    """At most ``most`` bytes of a regular file; None if there is none. Follows no links, in no part of the path."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            outer, inner = inner, -1
            try:
                inner = os.open(part, flags if last else flags | os.O_DIRECTORY, dir_fd=outer)
            finally:
                os.close(outer)
        if not stat.S_ISREG(os.fstat(inner).st_mode):
            return None
        with os.fdopen(os.dup(inner), "rb") as file:
            return file.read(most)
    except OSError:
        return None
    finally:
        if inner >= 0:
            os.close(inner)
