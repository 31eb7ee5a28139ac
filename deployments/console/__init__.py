"""The web console for the people of the chain: what waits, what failed, and what to do about it."""
