"""Chassis: a transparent sidecar proxy for OpenAI-compatible APIs, driven by declarative policies."""
