"""Texts about documents and states in the reader's language; every user interface uses them."""
