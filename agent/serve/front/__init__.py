"""Front: the process that clients reach. It handles the stop and the probes itself and forwards everything else.

It stays responsive whatever the API does, which is another process. See docs/decisions/0015.
"""
