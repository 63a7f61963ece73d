"""What developers need around torpor: a real cluster, a stand-in engine, the real engine."""
