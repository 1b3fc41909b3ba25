"""The byte-exact transport: heads and bodies over sockets, nothing of policies."""
