"""PlotDigitizer (https://github.com/dilawar/PlotDigitizer): finds the line in an image of a plot.

It is called as its command line would call it, in the same process. Task ``trace``: ``image`` (path), ``left``,
``bottom``, ``right``, ``top`` (pixels of the plot area, from the lower left corner of the image). Answer ``points``:
pairs of x and y as shares of the plot area.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.peers.protocol import Answer, Task, serve

WHOLE = 1000
"""The program takes whole numbers only; the plot area is this long and high."""


class PlotDigitizer:
    def __init__(self, options: Mapping[str, Any]) -> None:
        import plotdigitizer.plotdigitizer as program

        self._program = program

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": version("plotdigitizer")}

    def trace(self, image: str, left: int, bottom: int, right: int, top: int) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "points"
            options = Namespace(
                INPUT=Path(image), data_point=["0,0", f"{WHOLE},0", f"0,{WHOLE}"], preprocess=False, plot=None,
                location=[f"{left},{bottom}", f"{right},{bottom}", f"{left},{top}"], output=str(out),
            )  # fmt: skip
            try:
                self._program.run(options)
            except SystemExit as end:  # of a dark image
                raise ValueError("the program ended itself") from end
            lines = out.read_text().splitlines()
        return {"points": [[float(part) / WHOLE for part in line.split()] for line in lines]}


if __name__ == "__main__":
    serve(PlotDigitizer)
