"""The process that callers reach: it answers the stop and the probes itself and passes everything else on.

No request to the API can hold it up, since the API is another process. See docs/decisions/0015.
"""
