from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from agent.serve.cluster import local_cluster


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    """A Ray cluster with Serve; its HTTP port.

    Gone with its module: Ray ends a process whose cluster is lost, and the rest of the tests should not hang on one.
    """
    port = free_port()
    with local_cluster("127.0.0.1", port):
        yield port
