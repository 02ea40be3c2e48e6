"""The objects of the theory: dictionaries, cascades, their coherence, and the sparsity of codes."""
