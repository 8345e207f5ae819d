"""A fake flightloop platform for tests of clients.

::

    with FakeServer(world) as server, Flightloop(server.url, server.api_key) as client:
        ...
"""

from flightloop.testing.server import FakeServer, Fault, Holder
from flightloop.testing.world import World

__all__ = ["FakeServer", "Fault", "Holder", "World"]
