"""One function a command: the Python API."""
