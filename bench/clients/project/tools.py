"""The tool of the agent that MCP clients start."""

from flightloop import tool


@tool(effect="pure")
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
