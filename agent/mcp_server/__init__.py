"""Flightloop as an MCP server; a client of the HTTP API like any other."""
