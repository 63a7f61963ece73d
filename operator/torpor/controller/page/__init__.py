"""A page to look at: every endpoint, what it does and costs, read-only, from what the controller has in memory."""
