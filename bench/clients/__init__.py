"""Tries widely used clients against flightloop: ``python -m bench clients``.

Each client is a program in its own environment (`bench.peers.environment`), which talks to a started platform and
prints one JSON object a check. `bench.clients.run` reads them.
"""
