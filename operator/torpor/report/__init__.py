"""The bookkeeper's desk: reads what endpoints used out of their status, and writes it down for people and programs."""
