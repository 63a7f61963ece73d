"""The ears: the only room that imports kopf."""
