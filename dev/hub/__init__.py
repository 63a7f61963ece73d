"""A stand-in for the Hugging Face Hub: its HTTP API for models, over a folder of repositories."""
