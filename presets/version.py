"""Which Gramophone this is, as presets record it."""

from importlib import metadata


def gramophone_version() -> str:
    """The installed version; of a bare checkout that was never installed, ``0+source``."""
    try:
        return metadata.version("gramophone")
    except metadata.PackageNotFoundError:
        return "0+source"
