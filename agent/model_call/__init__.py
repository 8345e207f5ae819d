"""The guarded call of the model: what every request passes on its way there and back."""
