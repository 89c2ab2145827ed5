"""What runs on a node: the supervisor, its slots, and the wire that they share with the client.

Imports the standard library and cloudpickle, and nothing else of Skyward, so that a node needs this folder only.
"""
