"""Setting up the engine: making, checking and removing its environment."""
