"""Measures the engine's speed, alone and compared with others on the same processor."""
