"""Front: the process that clients connect to. It handles stops and probes itself and forwards all other requests.

It stays responsive whatever the API does, because the API is another process. See docs/decisions/0015.
"""
