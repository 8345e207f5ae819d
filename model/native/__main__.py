"""``python -m model.native`` compiles the kernels before the first start."""

from __future__ import annotations

import sys
from pathlib import Path

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.native.build import compiled
from model.native.support import machine_obstacle


def main() -> None:
    obstacle = machine_obstacle()
    if obstacle:
        print(f"The fast kernels are not available: {obstacle}. The engine runs on torch alone.")
        return
    try:
        print(compiled(Path(ModelConfig().cache).expanduser()))
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
