"""Errors of the presets house: each message says what was expected, what was found and what to do."""


class PresetError(Exception):
    """Root of every error the presets house raises on purpose."""
