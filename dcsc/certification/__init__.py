"""What the theory says of filters and networks of one's own."""
