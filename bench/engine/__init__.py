"""How fast the engine is, in itself and beside others on the same processor."""
