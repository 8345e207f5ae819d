"""What a run is: its events, its state, and what is kept of both."""
