"""Documents and states in the words of people, in their language; every screen uses these."""
