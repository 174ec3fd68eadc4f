"""Scores of any model on any labelled photos, each with its interval."""
