"""The OpenAI wire format, read from a copy and edited in place; nothing of policies or sockets."""
