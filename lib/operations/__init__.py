"""What people do and ask, in one place for the command line and the console."""
