"""Default agent of commands without ``--agent``."""

from __future__ import annotations

from flightloop import Flightloop
from flightloop.cli.paging import every
from flightloop.errors import InvalidRequest

USUAL = "support"
"""Default agent of the bundled project."""


def chosen(client: Flightloop, named: str | None) -> str:
    """The named agent, else the project's only one, else ``support``.

    Raises:
        InvalidRequest: the project has several agents, and none is named ``support``.
    """
    if named is not None:
        return named
    known = [agent.name for agent in every(client.agents.list)]
    if len(known) == 1:
        return known[0]
    if USUAL in known:
        return USUAL
    raise InvalidRequest(f"the project has the agents {', '.join(known)}; choose one with -a NAME", param="agent")
