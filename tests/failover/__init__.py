"""Each event once and in order, or the client is told: across failovers of real servers."""
