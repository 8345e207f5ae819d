"""Implementations of ``agent.chat_model.ChatModel`` that need no engine of our own."""
