"""The fleets that keep-alive policies are measured on, and the comparison at equal shares of delayed requests."""
