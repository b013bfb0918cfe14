"""The algorithms of the plugin, one per module; `base` runs the engine for all of them."""
