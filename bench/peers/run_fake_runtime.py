"""An agent runtime without runs, to test the measurements: the cost of a step depends only on the mode.

In milliseconds, both CPU and wall-clock time: ``durable`` 1, ``keyed`` 2, ``sync`` 5, ``async`` 4, ``memory`` 0.5,
``guarded`` 3. A step writes 1,000 bytes. ``sync`` and ``async`` cost and write more in proportion to the run's length,
and fail beyond 100 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.peers.protocol import Answer, Task, serve

_MILLISECONDS = {"durable": 1.0, "keyed": 2.0, "sync": 5.0, "async": 4.0, "memory": 0.5, "guarded": 3.0}


class FakeRuntime:
    def __init__(self, options: Mapping[str, Any]) -> None:
        pass

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": "0"}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        if steps > 100 and mode in ("sync", "async"):
            raise MemoryError("no memory for that")
        growth = steps / 10 if mode in ("sync", "async") else 1.0
        seconds = 1e-3 * _MILLISECONDS[mode] * runs * steps * growth
        size = 0 if mode == "memory" else int(1_000 * runs * steps * growth)
        return {"cpu_seconds": seconds, "seconds": 2 * seconds, "steps": runs * steps, "bytes": size}


if __name__ == "__main__":
    serve(FakeRuntime)
