"""Sockets and their manners: websocket, http, rate budgets, backoff, nonces, pending replies.

Nothing here knows a venue. Every module takes its clock and its randomness as arguments.
"""
