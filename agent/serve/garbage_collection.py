"""A serving process's garbage collector: it leaves alone what stays, and looks at the rest less often."""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 20)
"""Of the three generations. Python's own let a request with thousands of parts set off one full collection after the
other."""


def settle() -> None:
    """To be called once everything is set up.

    A full collection looks at every object and holds Python's lock meanwhile: some 150 ms for all that is imported. A
    thread that has the journal's database locked then keeps it from other processes, the stop's among them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
