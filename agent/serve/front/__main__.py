"""``python -m agent.serve.front FD``: the front, started and stopped by ``agent.serve.front.process``."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from agent.serve.garbage_collection import collect_rarely


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent process stops it
    collect_rarely()
    from agent.serve.front.serving import serve

    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
