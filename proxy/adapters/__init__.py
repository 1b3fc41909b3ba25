"""What talks to the outside: upstreams, scripted upstreams, OpenTelemetry."""
