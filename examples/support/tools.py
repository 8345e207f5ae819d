"""The support agent's own tools: the shop. The built-in tools need not be named here."""

from tools.shop.tools import TOOLS

__all__ = ["TOOLS"]
