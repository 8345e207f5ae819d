"""A judge with four invented cases, to test the use of `bench.peers.run_bfcl` without its package.

``simple_python`` expects ``add(a=1, b=2)``, then ``add(a=3, b=4)``; ``irrelevance`` expects no call;
``multi_turn_base`` expects its counter to be 1 after the first turn and 3 after the second, by ``add(a=…)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers.protocol import Answer, Task, serve

_NUMBER = {"type": "integer"}
_PARAMETERS = {"type": "object", "properties": {"a": _NUMBER, "b": _NUMBER}, "required": ["a"]}
_TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": _PARAMETERS}}]
_CASES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "simple_python": {"simple_python_0": ["1 and 2"], "simple_python_1": ["3 and 4"]},
    "irrelevance": {"irrelevance_0": ["Sing."]},
    "multi_turn_base": {"multi_turn_base_0": ["Count to 1.", "Count to 3."]},
}
_MEANT = {"simple_python_0": {"a": 1, "b": 2}, "simple_python_1": {"a": 3, "b": 4}}
_COUNTS = [1, 3]


class FakeJudge:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self._counter = 0

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": "0", "steps": 3}

    def cases(self, category: str) -> Answer:
        said = _CASES.get(category, {})
        turns = {id: [[{"role": "user", "content": text}] for text in texts] for id, texts in said.items()}
        return {"cases": [{"id": id, "tools": _TOOLS, "turns": each} for id, each in turns.items()]}

    def judge(self, category: str, id: str, answer: Mapping[str, Any]) -> Answer:
        calls = [json.loads(call["arguments"]) for call in answer["calls"]]
        right = calls == ([] if category == "irrelevance" else [_MEANT[id]])
        return {"right": right, "why": "" if right else "other calls were meant"}

    def begin(self, category: str, id: str) -> Answer:
        self._counter = 0
        return {}

    def perform(self, category: str, id: str, calls: Sequence[Mapping[str, str]]) -> Answer:
        results = []
        for call in calls:
            self._counter += json.loads(call["arguments"])["a"]
            results.append(str(self._counter))
        return {"results": results}

    def judge_turns(self, category: str, id: str, turns: Sequence[Sequence[Mapping[str, Any]]]) -> Answer:
        count, counts = 0, []
        for turn in turns:
            count += sum(json.loads(call["arguments"])["a"] for step in turn for call in step["calls"])
            counts.append(count)
        right = counts == _COUNTS
        return {"right": right, "why": "" if right else f"counted to {counts}"}


if __name__ == "__main__":
    serve(FakeJudge)
