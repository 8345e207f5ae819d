"""The measured runtimes, which of them are compared with each other, and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.engine.targets import Target


@dataclass(frozen=True)
class Subject:
    """A runtime in one of its modes.

    Attributes:
        program: program in `bench.peers`.
        mode: mode of the program.
        shown: name in rows and tables.
        messages: longest run to measure, in messages; beyond it, quadratic costs take minutes per run.
    """

    program: str
    mode: str
    shown: str
    messages: int = 2_000

    def takes(self, steps: int, calls: int) -> bool:
        return steps * (1 + calls) <= self.messages


US = "flightloop"
UNBOUNDED = 1_000_000
SUBJECTS: Mapping[str, Subject] = {
    "durable": Subject(US, "durable", "flightloop, SQLite", UNBOUNDED),
    "keyed": Subject(US, "keyed", "flightloop, SQLite, a tool with an effect", UNBOUNDED),
    "langgraph_sync": Subject("langgraph", "sync", "LangGraph, AsyncSqliteSaver, durability sync", 500),
    "langgraph_async": Subject("langgraph", "async", "LangGraph, AsyncSqliteSaver, durability async", 500),
    "dbos": Subject("dbos", "durable", "a loop on DBOS, SQLite"),
    "memory": Subject(US, "memory", "flightloop, journal in memory", UNBOUNDED),
    "langgraph_memory": Subject("langgraph", "memory", "LangGraph, no saver"),
    "pydantic_ai": Subject("pydantic_ai", "memory", "Pydantic AI"),
    "openai_agents": Subject("openai_agents", "memory", "OpenAI Agents SDK", 500),
    "guarded": Subject(US, "guarded", "flightloop, SQLite, with gate and telemetry", UNBOUNDED),
}
AGAINST: Mapping[str, Sequence[str]] = {
    "durable": ("langgraph_sync", "langgraph_async", "dbos"),
    "keyed": ("langgraph_sync",),
    "memory": ("langgraph_memory", "pydantic_ai", "openai_agents"),
    "guarded": ("durable",),
}
"""Subjects to compare each of our modes with: durable ones with durable ones. The first one is the main row's peer."""
PEERS: tuple[str, ...] = ("langgraph", "pydantic_ai", "openai_agents", "dbos")

TARGETS: Mapping[str, Target] = {
    "step_cpu_50": Target("CPU a durable step, 50 steps, to LangGraph's SQLite saver", 1 / 5, "at most"),
    "step_cpu_200": Target("the same, 200 steps", 1 / 8, "at most"),
    "step_cpu_slope": Target("CPU a durable step, 1,000 steps to 10", 1.2, "at most"),
    "step_bytes_slope": Target("bytes of the database a step, 1,000 steps to 10", 1.2, "at most"),
    "resume_seconds": Target("from the new worker's exec to the next committed event", 2.0, "at most", of="value"),
}
