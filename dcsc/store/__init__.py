"""Datasets on disk: what they hold, how they are written, and what they were made from."""
