"""Datasets on disk: their contents, how they are written and read, and their provenance."""
