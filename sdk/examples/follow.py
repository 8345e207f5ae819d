"""Starts a run of the agent ``support`` and follows it to its answer.

python follow.py "Where is my order 10101?"
"""

import sys

from flightloop import Flightloop
from flightloop.content import text_of
from flightloop.events import CallsDecided, DeltaEvent, ToolResult


def main(question: str) -> None:
    with Flightloop() as client:
        run = client.runs.create(agent="support", input=question)
        for event in client.runs.stream(run.id):
            match event:
                case DeltaEvent():
                    print(event.text, end="", flush=True)
                case CallsDecided():
                    print("calls", ", ".join(call.function.name for call in event.calls))
                case ToolResult():
                    print(event.tool, "answered" if event.ok else f"failed: {event.error}")
        done = client.runs.get(run.id)
        print(f"\n{done.status} after {done.usage.tokens} tokens: {text_of(done.output or [])}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Where is my order 10101?")
