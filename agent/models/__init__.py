"""Implementations of ``agent.models.chat_model.ChatModel`` that need no engine of our own."""
