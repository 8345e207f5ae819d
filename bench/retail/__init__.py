"""tau2-bench's retail tasks, played by a customer who follows a script: not that benchmark's official setting."""
