"""Find out what a TKE gets when it connects to a host."""
