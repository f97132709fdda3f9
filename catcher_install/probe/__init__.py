"""What a TKE meets at the other end of a connection."""
