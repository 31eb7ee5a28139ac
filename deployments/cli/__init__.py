"""`dqg`: what an operator asks and does, from the command line. See docs/cli.md."""

#: Of this checkout; the same as in pyproject.toml.
VERSION = "0.1.0"
