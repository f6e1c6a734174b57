"""The archiver: a process beside a receiver, which turns its rows into finished files.

It is a process of its own so that the receiver's event loop never waits for the disk, for a compressor, or for an
interpreter lock that either holds; and so that what was handed over outlives a receiver that is killed.
"""
