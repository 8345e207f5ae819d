from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from bench.platform import Platform
from flightloop import Flightloop
from tests.acceptance.receiving import Receiver, receiving


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def console_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, console_port: int, receiver: Receiver) -> Iterator[Platform]:
    options = ("--console-port", str(console_port), "--no-prometheus")
    environment = {"FLIGHTLOOP_WEBHOOKS": receiver.setting}
    with Platform(tmp_path_factory.mktemp("home"), free_port(), options, environment) as running:
        yield running


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[Flightloop]:
    with Flightloop(platform.url, platform.key) as connected:
        yield connected


@pytest.fixture(scope="module")
def official(platform: Platform) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{platform.url}/v1", api_key=platform.key, max_retries=0) as connected:
        yield connected


@pytest.fixture(scope="module")
def model(client: Flightloop) -> str:
    [card] = client.models.list().data
    return card.id


@pytest.fixture(scope="module")
def cli(platform: Platform) -> Callable[..., str]:
    """Runs the client's command line against the platform; returns what it printed."""
    program = shutil.which("flightloop", path=Path(sys.executable).parent)
    assert program, "the client is not installed beside this interpreter"
    environment = {**os.environ, "FLIGHTLOOP_URL": platform.url, "FLIGHTLOOP_API_KEY": platform.key}

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
