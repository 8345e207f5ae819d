"""The ``ChatModel`` port and adapters that don't need the built-in engine."""
