"""The fault lab: breaks servers, networks and the daemon itself on purpose, and looks what came of it.

Nothing here is shared with the daemon. What is right is computed a second time, from the writers' journals.
"""
