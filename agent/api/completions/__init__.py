"""OpenAI's two protocols over the guarded model call."""
