"""The stand-in engine: what runs in a pod where a test or the demo has no GPU."""
