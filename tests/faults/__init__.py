"""The fault suite: injects faults into the running local stack and proves that nothing is lost.

`python -m tests.faults`, or `make faults`.
"""
