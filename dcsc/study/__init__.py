"""A configuration, what it plans, and what came of it."""
