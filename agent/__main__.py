"""``python -m agent COMMAND``: what needs the server's code. The client's commands are ``flightloop``'s."""

from __future__ import annotations

import sys

from agent.admin import app
from flightloop.errors import FlightloopError
from flightloop.shown import shown


def main() -> None:
    try:
        app(prog_name="python -m agent")
    except FlightloopError as error:
        print(
            f"error: {shown(' '.join(error.message.split()))}", file=sys.stderr
        )  # a parser's words may be several lines
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
