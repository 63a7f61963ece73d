"""The rehearsal: replays a trace of requests through the decisions of domain/ and says what it would have cost."""
