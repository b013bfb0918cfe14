"""How well labels agree with reference data."""
