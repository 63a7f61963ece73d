"""The door: an OpenAI-compatible address that answers for endpoints that sleep, too."""
