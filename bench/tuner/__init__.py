"""Measures the tuner's speed compared with transformers and peft on the same processor."""
