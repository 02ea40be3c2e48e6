"""Certificates: what the theory guarantees for a user's own filters and networks."""
