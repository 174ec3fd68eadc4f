"""The rungs of the ladder; this far, the head."""
