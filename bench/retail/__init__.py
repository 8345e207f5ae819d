"""tau2-bench's retail tasks with a scripted customer: not that benchmark's official setting."""
