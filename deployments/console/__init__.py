"""The web console for the staff of the chain: waiting and failed documents, and what to do."""
