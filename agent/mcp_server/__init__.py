"""Flightloop as a server of the Model Context Protocol, a client of the HTTP API like any other."""
