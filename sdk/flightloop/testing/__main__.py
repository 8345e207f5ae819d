"""``python -m flightloop.testing [PORT]``: a fake platform with a day's history, for trying consoles and clients."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta

from flightloop.testing.delegation import delegated
from flightloop.testing.scene import shop
from flightloop.testing.script import Clock, worker
from flightloop.testing.server import FakeServer


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    world = shop()
    delegated(world, Clock(datetime.now(UTC) - timedelta(minutes=2)))
    with FakeServer(world, api_key="demo", port=port, on_run=worker()) as server:
        print(f"FLIGHTLOOP_URL={server.url} FLIGHTLOOP_API_KEY={server.api_key}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
