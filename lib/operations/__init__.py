"""Actions and queries of people, shared by the command line and the console."""
