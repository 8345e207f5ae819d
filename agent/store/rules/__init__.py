"""Rules of the journal: each function is the body of one transaction, over any backend."""
