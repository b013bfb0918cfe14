"""What a segment looks like: a row of numbers for each mask."""
