"""The typed configuration, a file per section: the one source of defaults and descriptions."""
