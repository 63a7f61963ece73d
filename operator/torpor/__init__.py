"""torpor: scale-to-zero LLM inference endpoints on Kubernetes."""
