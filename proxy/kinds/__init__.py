"""The policy kinds, one a file."""
