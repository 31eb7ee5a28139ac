"""The source database: the chain's documents, and the claims on them."""
