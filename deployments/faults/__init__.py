"""The fault suite: injects faults into the running local stack and proves that nothing is lost.

`python -m deployments.faults`, or `make faults`.
"""
