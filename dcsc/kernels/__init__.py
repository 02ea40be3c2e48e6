"""Compiled loops over arrays, without knowledge of dictionaries or codes as objects."""
