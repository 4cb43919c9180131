"""
Where nodes and addresses come from, besides the bus itself: the registries that people already run.

`atbus.discovery.interfaces` has the three roles; `atbus.discovery.documents` says what stands in a
registry and under which keys; each backend has a package or a module of its own. A registry is
never trusted: what it says are hints, and a node that is dialled has to prove who it is.
"""
