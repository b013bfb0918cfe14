"""The run folder, and who does the work."""
