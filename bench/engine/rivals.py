"""Peers of a measurement. They start on first use, and end with the measurement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from bench.peers.checkpoint import dense_checkpoint, random_checkpoint
from bench.peers.environment import ENVIRONMENTS, PeerError
from bench.peers.peer import Peer
from bench.peers.shapes import MIXTURE
from model.config import STANDARD, ModelConfig
from model.weights.files import model_path

PEERS: tuple[str, ...] = tuple(ENVIRONMENTS)
OLMOE = "transformers:olmoe"
"""The program ``transformers`` with a model of its own."""


class Rivals:
    """The peers; a context manager.

    Args:
        names: participating peers.
        options: returns the options to start a peer with.
        told: called with the peer that is starting.

    Attributes:
        versions: versions of the started peers.
    """

    def __init__(
        self,
        names: Collection[str],
        options: Callable[[str], Mapping[str, Any]],
        told: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._names = frozenset(names)
        self._options = options
        self._told = told
        self._running: dict[str, Peer] = {}
        self._failed: dict[str, PeerError] = {}
        self._stack = ExitStack()
        self.versions: dict[str, str] = {}

    def __enter__(self) -> Rivals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def get(self, name: str) -> Peer:
        """A running peer, always the same.

        Raises:
            PeerError: the peer doesn't take part, isn't installed, or did not start; the message says what to do.
        """
        if _program(name) not in self._names:
            raise PeerError(f"{name} does not take part")
        if name in self._failed:
            raise self._failed[name]
        if name not in self._running:
            self._told(f"starting {name}")
            try:
                peer = self._stack.enter_context(Peer(_program(name), **self._options(name)))
                self.versions[_program(name)] = str(peer.ask({"task": "about"})["version"])
                self._running[name] = peer
            except PeerError as error:
                self._failed[name] = error
                raise
        return self._running[name]

    def end(self) -> None:
        """Ends the running peers. They restart when needed again."""
        self._running.clear()
        self._stack.close()


def peer_options(threads: int, model: str = STANDARD) -> Callable[[str], Mapping[str, Any]]:
    """Start options of each peer: the dense base's weights, and the same number of threads as ours."""

    def options(name: str) -> Mapping[str, Any]:
        if name in ("llama_cpp", "llama_cpp_avx2"):
            return {"model": model_path(ModelConfig(model)), "threads": threads}
        if name == OLMOE:
            return {"model": random_checkpoint(MIXTURE), "threads": threads}
        folder = {"model": dense_checkpoint("bfloat16", model), "threads": threads}
        return folder | {"prefix_caching": True} if name == "vllm" else folder

    return options


def _program(name: str) -> str:
    return name.partition(":")[0]
