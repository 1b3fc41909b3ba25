"""bench -- Chassis beside nginx, Envoy and a plain aiohttp proxy: one core each, interleaved, in one run.

Not part of the product: `python -m bench` from the project's folder. How it measures and how to read it: README.md.
"""
