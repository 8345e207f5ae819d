"""Measurements of code, by kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.code import escapes, generation, scanner
from bench.code.problems import Problem, humaneval, own_problems, weakness_problems
from bench.errors import BenchError
from bench.platform import Platform
from bench.rows import Row
from flightloop import Flightloop
from flightloop.code_task import SecurityLevel

CODER = Path(__file__).parents[2] / "examples" / "coder"


@dataclass(frozen=True)
class Wish:
    """Options of ``python -m bench code``."""

    kinds: tuple[str, ...] = ()
    """Kinds to measure; empty: those that need no model."""
    cases: int | None = None
    """Problems of each kind, spread evenly over all; None: all."""
    data: Path = Path()
    """Folder with HumanEval-X."""
    port: int = 8000
    console: Console = field(default_factory=Console)
    outputs: Path | None = None
    """File for the generated programs, JSON lines."""
    url: str | None = None
    """A platform that runs with this project already, with ``FLIGHTLOOP_API_KEY``; None: one is started."""


def _sample(problems: Sequence[Problem], wish: Wish) -> list[Problem]:
    """Problems spread evenly over all."""
    count = min(wish.cases or len(problems), len(problems))
    return [problems[index * len(problems) // count] for index in range(count)]


def _own(client: Flightloop, wish: Wish) -> list[Row]:
    return _gain(client, wish, "own", own_problems())


def _humaneval_python(client: Flightloop, wish: Wish) -> list[Row]:
    return _gain(client, wish, "humaneval_python", humaneval(wish.data, "python"))


def _humaneval_java(client: Flightloop, wish: Wish) -> list[Row]:
    return _gain(client, wish, "humaneval_java", humaneval(wish.data, "java"))


def _humaneval_plain(client: Flightloop, wish: Wish) -> list[Row]:
    problems = _sample(humaneval(wish.data, "python"), wish)
    return generation.plain_rows("humaneval_plain", generation.plain_samples(client, wish.console, problems))


def _gain(client: Flightloop, wish: Wish, name: str, problems: Sequence[Problem]) -> list[Row]:
    chosen = _sample(problems, wish)
    made = generation.generated(client, wish.console, chosen, SecurityLevel.LOW, outputs=wish.outputs)
    return generation.gain_rows(name, made)


def _weaknesses(client: Flightloop, wish: Wish) -> list[Row]:
    problems = _sample(weakness_problems(), wish)

    def made(level: SecurityLevel) -> list[generation.Generated]:
        return generation.generated(client, wish.console, problems, level, sample=False, outputs=wish.outputs)

    return generation.weakness_rows({level: made(level) for level in SecurityLevel})


PLAIN: dict[str, Callable[[], list[Row]]] = {"scanner": scanner.measure, "escape": escapes.measure}
"""Kinds that need no model."""
SERVED: dict[str, Callable[[Flightloop, Wish], list[Row]]] = {
    "own": _own,
    "humaneval_python": _humaneval_python,
    "humaneval_java": _humaneval_java,
    "humaneval_plain": _humaneval_plain,
    "weaknesses": _weaknesses,
}
"""Kinds for which a platform with the project ``examples/coder`` is started."""


def measure(wish: Wish) -> list[Row]:
    """Rows of the kinds named. Raises BenchError: a kind is unknown, or the data can't be read."""
    known = [*PLAIN, *SERVED]
    if unknown := [kind for kind in wish.kinds if kind not in known]:
        raise BenchError(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    rows = [row for kind in wish.kinds or PLAIN if kind in PLAIN for row in PLAIN[kind]()]
    served = [kind for kind in wish.kinds if kind in SERVED]
    if not served:
        return rows
    with _platform(wish) as client:
        for kind in served:
            rows += SERVED[kind](client, wish)
    return rows


@contextmanager
def _platform(wish: Wish) -> Iterator[Flightloop]:
    """A client of the platform to measure."""
    if wish.url is not None:
        with Flightloop(wish.url, timeout_s=600) as client:
            yield client
        return
    with tempfile.TemporaryDirectory(prefix="flightloop-code-") as folder:
        options = ("--no-console", "--no-prometheus", "--project", str(CODER))
        with (
            Platform(Path(folder), wish.port, options) as platform,
            Flightloop(platform.url, platform.key, timeout_s=600) as client,
        ):
            yield client
