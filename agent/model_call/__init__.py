"""The guarded model call: rails, budget and emergency stop around every request to the model."""
