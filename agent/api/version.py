"""The project's version, as the API, the MCP server and the console state it."""

VERSION = "0.1.0"
