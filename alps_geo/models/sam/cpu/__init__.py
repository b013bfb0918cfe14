"""Parts of SAM that are compiled for a CPU; a run on a GPU never loads them."""
