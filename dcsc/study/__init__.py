"""Studies: the configuration, the plan of jobs that follows from it, and checks of the results."""
