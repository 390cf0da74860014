"""Errors of the engine: each message says what was expected, what was found and what to do."""


class EngineError(Exception):
    """Root of every error the engine raises on purpose."""


class AudioError(EngineError):
    """An audio file or tensor cannot be used as it is."""


class RecipeError(EngineError):
    """A recipe is unknown, or does not fit what it is asked to do."""


class DeviceError(EngineError):
    """The compute device asked for is not there or cannot do the work."""
