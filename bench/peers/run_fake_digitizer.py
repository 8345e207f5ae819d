"""A digitizer that sees a straight line from the lower left to the upper right corner in any image, for tests.

Options: ``blind``: it can't trace anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.peers.protocol import Answer, Task, serve


class FakeDigitizer:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self._blind = bool(options.get("blind"))

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": "0"}

    def trace(self, image: str, left: int, bottom: int, right: int, top: int) -> Answer:
        if self._blind:
            raise ValueError("sees nothing")
        return {"points": [[0.0, 0.0], [1.0, 1.0]]}


if __name__ == "__main__":
    serve(FakeDigitizer)
