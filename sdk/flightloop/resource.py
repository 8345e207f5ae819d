"""API endpoints written once, typed for both clients.

A resource is generic in its transport. ``endpoint``, ``sequence`` and ``feed`` wrap methods that only build a ``Call``,
``Steps`` or a ``Feed``. On a ``Resource[SyncTransport]`` they return the result (or an iterator), on a
``Resource[AsyncTransport]`` an awaitable (or an async iterator), and type checkers know which.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from flightloop.call import Call, Feed, Steps, refused_here
from flightloop.transport import AsyncTransport, SyncTransport

P = ParamSpec("P")
T = TypeVar("T")
X = TypeVar("X", bound=SyncTransport | AsyncTransport)


class Resource(Generic[X]):
    def __init__(self, transport: X) -> None:
        self._transport: X = transport


class _Awaited(Generic[P, T]):
    def __init__(self, build: Callable[Concatenate[Any, P], Any], how: str) -> None:
        self._build, self._how = build, how
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, owner: Resource[SyncTransport], kind: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, owner: Resource[AsyncTransport], kind: Any = None) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else _bound(owner, self._build, self._how)


class endpoint(_Awaited[P, T]):
    """Decorator for a method that builds a `Call`; calling it executes that call."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        super().__init__(build, "execute")


class sequence(_Awaited[P, T]):
    """Decorator for a generator method that yields `Call` and `Feed` objects: executes each and sends its result
    back. The generator's return value is the result."""

    def __init__(self, build: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        super().__init__(build, "drive")


class feed(Generic[P, T]):
    """Decorator for a method that builds a `Feed`; calling it streams the feed's items."""

    def __init__(self, build: Callable[Concatenate[Any, P], Feed[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, owner: Resource[SyncTransport], kind: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, owner: Resource[AsyncTransport], kind: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else _bound(owner, self._build, "stream")


def _bound(owner: Any, build: Callable[..., Any], how: str) -> Callable[..., Any]:
    @functools.wraps(build)
    def run(*args: Any, **kwargs: Any) -> Any:
        with refused_here():
            asked = build(owner, *args, **kwargs)
        return getattr(owner._transport, how)(asked)

    return run
