"""Front: the process that clients connect to. It handles stops and probes itself and forwards all other requests.

It stays responsive while the API is busy, because the API runs in another process. See docs/decisions/0015.
"""
