"""A machine room in one thread: an asyncio loop in virtual time, hosts, and a network between."""
