"""Training data: converts public sets to rows, cleans them, and removes rows that resemble benchmarks."""
