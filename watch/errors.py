"""Errors of the watch house: each message says what was expected, what was found and what to do."""


class WatchError(Exception):
    """Root of every error the watch house raises on purpose."""
