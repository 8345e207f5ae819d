"""``python -m agent COMMAND``: commands that need the server's code. The client's CLI is ``flightloop``."""

from __future__ import annotations

import sys

from agent.admin import app
from agent.serve.garbage_collection import collect_rarely
from flightloop.errors import FlightloopError
from flightloop.shown import shown


def main() -> None:
    collect_rarely()
    try:
        app(prog_name="python -m agent")
    except FlightloopError as error:
        # Messages of a parser may span several lines.
        print(f"error: {shown(' '.join(error.message.split()))}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
