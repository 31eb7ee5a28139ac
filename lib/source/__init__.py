"""The source database: where the chain keeps its documents, and where their claims live."""
