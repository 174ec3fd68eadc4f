"""The model file: written, verified against its source, then moved into place."""
