"""The running process: data port, admin port, drain."""
