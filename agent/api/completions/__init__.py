"""OpenAI's two protocols over the one guarded model call."""
