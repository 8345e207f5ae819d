"""What the shop's database and documents say, as a graph: to search it, and to hold an answer against it."""
