"""What a project folder declares."""
