"""Comparisons of architectures and regimes, and the search for better recipes."""
