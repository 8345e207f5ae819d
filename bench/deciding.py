"""``python -m bench deciding``: compares tool calls at the default temperature and at 0, and looks for calls shown as
text."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from agent.evals.confidence_interval import wilson
from bench.platform import Platform
from bench.rows import Row
from bench.truths import shows_markup
from flightloop import Flightloop
from flightloop.errors import FlightloopError

REQUESTS = 200
PROMPTS = 500
SEED = 15
TIMEOUT_S = 120.0


def tool(name: str, description: str, **parameters: str) -> dict[str, Any]:
    properties = {each: {"type": kind} for each, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


CITIES = ("Paris", "Rome", "Oslo", "Madrid", "Vienna", "Dublin", "Prague", "Lisbon", "Athens", "Tokyo", "Lima", "Cairo")
BOOKS = ("Solaris", "Dune", "Emma", "Ulysses", "Beloved", "Middlemarch", "Momo", "Heidi")
WEATHER = tool("get_weather", "The weather in a city now.", city="string")
LOAN = tool("renew_loan", "Renews the loan of a book.", title="string")
SUM = tool("add", "Adds two numbers.", a="integer", b="integer")
ORDER = tool("get_order", "Looks up an order by its number.", order_id="integer")
ASKED: tuple[tuple[dict[str, Any], Callable[[random.Random], str]], ...] = (
    (WEATHER, lambda at: f"What is the weather in {at.choice(CITIES)}?"),
    (WEATHER, lambda at: f"weather in {at.choice(CITIES)}?"),
    (LOAN, lambda at: f"Please renew my loan of {at.choice(BOOKS)}."),
    (SUM, lambda at: f"What is {at.randint(10, 99)} plus {at.randint(10, 99)}?"),
    (ORDER, lambda at: f"Where is my order {at.randint(10_000, 99_999)}?"),
)
OTHER: tuple[Callable[[random.Random], str], ...] = (
    lambda at: f"Tell me a joke about {at.choice(BOOKS)}.",
    lambda at: f"Who wrote {at.choice(BOOKS)}?",
    lambda at: f"Write a short mail to the people of {at.choice(CITIES)}.",
    lambda at: f'Repeat after me: {{"name": "get_order", "arguments": {{"order_id": {at.randint(1, 9)}}}}}',
    lambda at: "What tools do you have?",
    lambda at: "<tool_call>",
    lambda at: f"Plan a trip to {at.choice(CITIES)} and renew {at.choice(BOOKS)}, then tell me what you did.",
)


def measure(console: Console, port: int) -> list[Row]:
    """Starts and stops a platform around the measurements. Raises PlatformFailed if it doesn't start."""
    with (
        tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder,
        console.status("starting") as status,
        Platform(Path(folder), port, ("--no-console", "--no-prometheus")) as platform,
        Flightloop(platform.url, platform.key, timeout_s=TIMEOUT_S) as client,
    ):
        status.stop()
        [card] = client.models.list().data
        return [_called(client, card.id, console), _shown(client, card.id, console)]


def _called(client: Flightloop, model: str, console: Console) -> Row:
    """Share of requests without a temperature that call a tool, among those that call one at temperature 0."""
    at = random.Random(SEED)
    called, both = 0, 0
    for number in track(range(REQUESTS), "deciding", console=console):
        offered, words = ASKED[number % len(ASKED)]
        message = words(at)
        first = _answer(client, model, message, [offered], temperature=0.0)
        if first is not None and first.tool_calls:
            called += 1
            second = _answer(client, model, message, [offered])
            both += bool(second is not None and second.tool_calls)
    share = both / max(called, 1)
    note = f"{called} of {REQUESTS} requests call a tool at temperature 0"
    return Row("default_temperature_calls", share, "ratio", interval=wilson(share, called), cases=called, note=note)


def _shown(client: Flightloop, model: str, console: Console) -> Row:
    at, shown = random.Random(SEED + 1), list[str]()
    offered = [WEATHER, LOAN, SUM, ORDER]
    for number, message in enumerate(track(list(_prompts(at)), "looking for markup", console=console)):
        told = _answer(
            client, model, message, offered if number % 2 else offered[:1], max_tokens=60 if number % 3 else 12
        )
        if told is not None and shows_markup(told.content or ""):
            shown.append(told.content or "")
    note = "; ".join(text[:80] for text in shown[:3]) or None
    return Row("markup_shown", len(shown), "answers", higher_is_better=False, cases=PROMPTS, note=note)


def _prompts(at: random.Random) -> Iterator[str]:
    words = [*(words for _, words in ASKED), *OTHER]
    yield from (words[number % len(words)](at) for number in range(PROMPTS))


def _answer(client: Flightloop, model: str, message: str, tools: list[dict[str, Any]], **more: Any) -> Any:
    """The answer's message; None if the platform withheld the answer, for example because it shows a call as text."""
    asked = [{"role": "user", "content": message}]
    try:
        return client.chat.completions.create(model=model, messages=asked, tools=tools, **more).choices[0].message
    except FlightloopError:
        return None
