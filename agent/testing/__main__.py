"""``python -m agent.testing [PORT]``: runs a platform with a scripted model and example runs, to try the console."""

from __future__ import annotations

import logging
import sys
import threading

import structlog

from agent.testing.scene import delegated, shop


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    # Errors only: some of the shop's tools raise on purpose.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with shop(port=port, pace_s=0.05) as platform:
        delegated(platform)
        print(f"FLIGHTLOOP_URL={platform.url} FLIGHTLOOP_API_KEY={platform.api_key}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
