"""A client for tests: one check holds, one doesn't, one raises, and one needs the scripted model."""

from __future__ import annotations

import json
import urllib.request

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, run, scripted


def asked(text: str) -> str:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{URL}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: str = json.load(answer)["choices"][0]["message"]["content"]
        return told


@check
def holds() -> Seen:
    text = asked(c.HELLO)
    return text, alike(text, c.SAID_HELLO)


@check
async def does_not_hold() -> Seen:
    return "four", False


@check
def raises() -> Seen:
    raise ValueError("nothing came")


@scripted
def knows_the_answer() -> Seen:
    text = asked("Who are you?")
    return text, text == "I have no answer to that."


if __name__ == "__main__":
    print("a line of the library's own")
    run()
