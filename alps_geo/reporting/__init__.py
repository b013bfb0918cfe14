"""A run told to people: one HTML page with pictures, which needs nothing else."""
