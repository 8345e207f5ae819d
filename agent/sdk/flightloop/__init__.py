"""flightloop: client and wire types of mission control for tool-using agents."""
