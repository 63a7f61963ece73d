"""What `bench/fuzz.py` sends, where, and what must never come back."""
