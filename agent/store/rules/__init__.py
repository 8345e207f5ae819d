"""The journal's rules: each function is the body of one transaction, over any backend."""
