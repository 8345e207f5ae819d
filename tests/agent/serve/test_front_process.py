"""The end of the front's process, as the API's process sees it."""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection

from agent.serve.front.process import _pass_on, _tell_end
from observability.metrics import Snapshot


def test_a_front_that_has_ended_by_itself_need_not_be_told() -> None:
    ours, theirs = socket.socketpair()
    connection, told = Connection(ours.detach()), list[Snapshot]()
    theirs.close()
    _pass_on(connection, told.append)  # returns at the front's end, and closes the connection
    _tell_end(connection)
    assert connection.closed
    assert told == []


def test_a_front_is_told_the_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours.detach()) as connection:
        _tell_end(connection)
        assert theirs.recv(1) == b""
