"""Composes conversations to learn from: tool families, values, situations."""
