"""The price desk: turns a price list that somebody downloaded into GPUClasses. Nothing is fetched here."""
