"""`dqg`: the command line for operators. See docs/cli.md."""

#: Version of this checkout; the same as in pyproject.toml.
VERSION = "0.1.0"
