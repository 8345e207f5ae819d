"""OpenAI's Chat Completions and Responses protocols, on top of the guarded model call."""
