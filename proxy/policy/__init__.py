"""Configuration as data: the policy language, its documents and its problems."""
