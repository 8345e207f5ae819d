"""How fast the tuner is, beside transformers and peft on the same processor."""
