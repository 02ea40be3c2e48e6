"""The typed configuration, a file a section: the one source of defaults and descriptions."""
