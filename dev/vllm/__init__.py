"""Real vLLM on the CPU with a tiny random Llama, for tests that must not guess (`README.md`)."""
