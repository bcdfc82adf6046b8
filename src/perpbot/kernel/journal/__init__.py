"""The memory: an append-only record of every durable event, in files that anybody may read.

The directory holds `journal-<first sequence>.log` segments, `snapshot-<sequence>.bin` files, a
`lock` that one process holds and a `reserve` of disk space.
"""
