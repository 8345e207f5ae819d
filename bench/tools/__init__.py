"""How well the served model calls tools, by the Berkeley Function Calling Leaderboard."""
