"""Tool that measures how a function's time grows with the size of its input.

The function is called with random, sorted and equal values of doubling sizes. The shortest time of several calls is
taken for each size, since other programs only make calls longer; the clock of CPU time is too coarse on some systems.
The slope over sizes in logarithms is compared with that of the allowed growth. ``O(n)`` and ``O(n log n)`` are too
close to be told apart.
"""

from __future__ import annotations

import ast
import json
import math
import os
import random
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from statistics import median
from typing import Annotated, Any

from pydantic import Field

from flightloop.code_task import Growth
from flightloop.tool import ToolRefused, tool
from tools.builtin.code import Code
from tools.builtin.forked import LIMITS, REPORT, run_forked

GROWTHS: dict[str, Callable[[float], float]] = {
    "O(1)": lambda n: 1.0,
    "O(log n)": math.log2,
    "O(n)": lambda n: n,
    "O(n log n)": lambda n: n * math.log2(n),
    "O(n^2)": lambda n: n**2,
    "O(n^3)": lambda n: n**3,
}
SLACK = 0.4
"""Largest excess of the measured exponent over the allowed one: caches and other programs alone make it 0.1 to 0.3."""
FIRST, LAST = 64, 2**17
LEAST_SIZES, MOST_SIZES = 3, 7
LONG_S, SHORT_S = 0.008, 0.000005
"""Seconds of a call after which sizes are large enough: longer calls are often preempted. And below which they say
nothing."""
LEAST_REPEATS, MOST_REPEATS, ENOUGH_S = 7, 30, 0.05
"""Calls for each size: at least seven, and more until they took so long together."""
WALL_SECONDS, CPU_SECONDS = 40.0, 30


@tool(effect="pure", timeout_s=60, permissions=("subprocess",), returns_untrusted=True)
def measure_growth(code: Code, signature: Annotated[str, Field(min_length=1, max_length=1000)], growth: Growth) -> Any:
    """Measure whether a Python function's time grows no faster than allowed.

    Args:
        code: the program's source
        signature: the function's header with annotations
        growth: the allowed growth
    """
    name, kinds = parameters(signature)
    ended = run_forked(
        lambda: _measure(code, name, kinds),
        seconds=WALL_SECONDS,
        output_bytes=0,
        report_bytes=64 * 1024,
        limits=replace(LIMITS, cpu=CPU_SECONDS),
    )
    times = _times(ended.report)
    if not times:
        return {"kept": None, "reason": f"the function could not be measured: the program was {ended.exit}"}
    return verdict(times, growth)


def verdict(times: dict[str, dict[int, float]], growth: str) -> dict[str, Any]:
    """Compares times with a growth, by the worst kind of input.

    Args:
        times: seconds by size, for each kind of input.
    """
    measured = {kind: slope for kind, by_size in times.items() if (slope := exponent(by_size)) is not None}
    if not measured:
        return {"kept": True, "reason": "the calls are too fast to tell"}
    worst = max(measured, key=lambda kind: measured[kind] - _allowed(times[kind], growth))
    limit = _allowed(times[worst], growth)
    return {
        "kept": measured[worst] <= limit + SLACK,
        "exponent": round(measured[worst], 2),
        "allowed": round(limit, 2),
        "input": worst,
        "seconds": {str(size): round(seconds, 6) for size, seconds in times[worst].items()},
    }


def exponent(by_size: dict[int, float]) -> float | None:
    """Slope of the time's logarithm over the size's (Theil-Sen: the median over all pairs of sizes); None if the times
    are too short."""
    used = _used(by_size)
    return _slope({size: by_size[size] for size in used}) if len(used) >= LEAST_SIZES else None


def _allowed(by_size: dict[int, float], growth: str) -> float:
    """The slope of a growth at the same sizes."""
    return _slope({size: GROWTHS[growth](size) for size in _used(by_size)})


def _used(by_size: dict[int, float]) -> list[int]:
    """The largest sizes, without those whose times say nothing."""
    return [size for size in sorted(by_size) if by_size[size] >= SHORT_S][-MOST_SIZES:]


def _slope(by_size: dict[int, float]) -> float:
    pairs = combinations(sorted(by_size), 2)
    return median(math.log(by_size[high] / by_size[low]) / math.log(high / low) for low, high in pairs)


def parameters(signature: str) -> tuple[str, list[str]]:
    """Name of a function and the annotations of its parameters. Raises ToolRefused."""
    header = signature.strip().rstrip(":")
    header = header if header.startswith(("def ", "async def ")) else f"def {header}"
    try:
        function = ast.parse(f"{header}:\n    ...").body[0]
    except SyntaxError as error:
        raise ToolRefused(f"The signature {signature!r} is not a function of Python.") from error
    if not isinstance(function, ast.FunctionDef):
        raise ToolRefused(f"The signature {signature!r} is not a function that can be called.")
    given = function.args.posonlyargs + function.args.args
    kinds = [ast.unparse(one.annotation).lower() if one.annotation else "" for one in given]
    for one, kind in zip(given, kinds, strict=True):
        if _made(kind, 1, [0]) is None:
            raise ToolRefused(f"Values for the parameter {one.arg}: {kind or 'without annotation'} can't be made.")
    return function.name, kinds


_MAKERS: dict[str, Callable[[int, list[int]], Any]] = {
    "int": lambda size, numbers: size,
    "float": lambda size, numbers: float(size),
    "bool": lambda size, numbers: True,
    "str": lambda size, numbers: "".join(chr(97 + number % 26) for number in numbers),
    "bytes": lambda size, numbers: bytes(number % 256 for number in numbers),
    "list[int]": lambda size, numbers: numbers,
    "list[float]": lambda size, numbers: [number + 0.5 for number in numbers],
    "list[str]": lambda size, numbers: [f"w{number}" for number in numbers],
    "set[int]": lambda size, numbers: set(numbers),
    "tuple[int,...]": lambda size, numbers: tuple(numbers),
    "dict[str,int]": lambda size, numbers: {f"k{index}": number for index, number in enumerate(numbers)},
    "dict[int,int]": lambda size, numbers: dict(enumerate(numbers)),
    "list[tuple[int,int]]": lambda size, numbers: [(number, number + 3) for number in numbers],
}
"""Arguments by annotation, from a size and as many numbers."""
_SAME = {"list": "list[int]", "list[any]": "list[int]", "set": "set[int]", "dict": "dict[str,int]"}


def _numbers(size: int, order: str, seed: int) -> list[int]:
    chance = random.Random(seed)
    numbers = [int(chance.random() * 10 * size) for _ in range(size)]
    return {"sorted": sorted(numbers), "equal": [7] * size}.get(order, numbers)


def _made(kind: str, size: int, numbers: list[int]) -> Any:
    """An argument of a size; None: unknown kind."""
    kind = kind.replace("typing.", "").replace(" ", "").replace("sequence[", "list[").replace("iterable[", "list[")
    maker = _MAKERS.get(_SAME.get(kind, kind))
    return maker(size, numbers) if maker else None


def _measure(code: str, name: str, kinds: list[str]) -> int:
    """The harness, in the forked process."""
    clock, write, dump = time.perf_counter, os.write, json.dumps
    sys.setrecursionlimit(100_000)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    exec(compile(code, "solution.py", "exec"), module.__dict__)
    function = module.__dict__[name]
    for order in ("random", "sorted", "equal"):
        for size in _sizes():
            best, total = math.inf, 0.0
            for number in range(MOST_REPEATS):
                numbers = _numbers(size, order, number)  # other ones each time: processors learn what is repeated
                arguments = [_made(kind, size, list(numbers)) for kind in kinds]
                began = clock()
                function(*arguments)
                seconds = clock() - began
                best, total = min(best, seconds), total + seconds
                if seconds > LONG_S or (number + 1 >= LEAST_REPEATS and total > ENOUGH_S):
                    break
            write(REPORT, (dump([order, size, best]) + "\n").encode())
            if best > LONG_S:
                break
    return 0


def _sizes() -> Iterator[int]:
    size = FIRST
    while size <= LAST:
        yield size
        size *= 2


def _times(report: bytes) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for line in report.decode("utf-8", "replace").splitlines():
        try:
            order, size, seconds = json.loads(line)
            found.setdefault(str(order), {})[int(size)] = float(seconds)
        except (ValueError, TypeError):
            continue
    return found
