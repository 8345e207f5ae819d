"""Tunes the garbage collector of a serving process: freezes permanent objects and collects less often."""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 20)
"""Thresholds of the three generations. With Python's defaults a request with thousands of parts triggered several full
collections in a row."""


def collect_rarely() -> None:
    """Collects less often; call it before the modules of a server are imported.

    They create some 250,000 objects that stay. With Python's defaults, looking through them again and again takes a
    sixth of the time until a server runs.
    """
    gc.set_threshold(*THRESHOLDS)


def settle() -> None:
    """Freezes all existing objects; call it once the process is set up.

    Otherwise a full collection visits all objects while holding the GIL: some 150 ms for the imported modules. A thread
    that holds the journal's write lock meanwhile blocks other processes, including the one that handles stops.
    """
    gc.collect()
    gc.freeze()
    collect_rarely()
