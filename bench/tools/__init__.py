"""Measures tool calling of the served model by the Berkeley Function Calling Leaderboard."""
