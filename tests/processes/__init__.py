"""The node as a process that dies, against exchanges of our own that live on (tier C).

`python -m tests.processes.kills --count 1000` kills a node at random and says what held.
"""
