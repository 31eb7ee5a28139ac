"""`dqg`: what an operator asks and does, from the command line. See docs/cli.md."""
