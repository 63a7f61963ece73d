"""The words: what users write and read, and the CRDs made from it. Pure; no behaviour beyond parsing."""
