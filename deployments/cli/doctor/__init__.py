"""`dqg doctor`: checks every part of an installation and shows how to correct faults."""
