"""Error handling of commands: one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flightloop.errors import FlightloopError
from flightloop.shown import shown


@contextmanager
def one_line() -> Iterator[None]:
    """Turns expected errors into one line and exit code 1, and Ctrl-C into exit code 130."""
    try:
        yield
    except FlightloopError as error:
        request = f" (request {error.request_id})" if error.request_id else ""
        _exit(f"{error.message}{request}", 1)
    except (TimeoutError, OSError) as error:
        _exit(str(error) or type(error).__name__, 1)
    except KeyboardInterrupt:
        _exit("stopped", 130)


def _exit(message: str, code: int) -> None:
    print(f"flightloop: {shown(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(code)
