"""A default chain in TOML, ``[[chain]]`` tables as in an album manifest; its plugins are checked when it is played."""

import json
from pathlib import Path
from typing import Any

import tomli

from presets.errors import PresetError

_MAX_BYTES = 1_000_000
_FORM = 'expected [[chain]] tables, each with plugin = "NAME"'


def read(path: Path) -> list[dict[str, Any]]:
    """The ``[[chain]]`` tables of the TOML file at ``path`` as dicts; `PresetError` says what is wrong and where."""
    return _entries(tables(path), f"the chain {path}")


def tables(path: Path) -> list[Any]:
    """As `read`, for who checks the tables themselves and tells everything that is wrong with them."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            # A pipe would be waited for.
            raise PresetError(f"the chain {path} is no file; {_FORM}")
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise PresetError(f"the chain {path} is larger than {_MAX_BYTES:,} bytes; {_FORM}")
        found = tomli.loads(text.decode())
    except OSError as error:
        raise PresetError(f"the chain {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise PresetError(f"the chain {path} is not TOML: {error}") from error
    return _tables(found, f"the chain {path}")


def _tables(found: dict[str, Any], where: str) -> list[Any]:
    if unknown := [key for key in found if key != "chain"]:
        raise PresetError(f"{where} has {unknown[0]!r} beside its chain; {_FORM}")
    chain = found.get("chain")
    if not isinstance(chain, list) or not chain:
        raise PresetError(f"{where} holds no chain; {_FORM}")
    return chain


def _entries(chain: list[Any], where: str) -> list[dict[str, Any]]:
    for index, entry in enumerate(chain, 1):
        if not isinstance(entry, dict):
            raise PresetError(f"{where}, entry {index} is {entry!r}; {_FORM}")
        plugin = entry.get("plugin")
        if not isinstance(plugin, str) or not plugin.strip():
            raise PresetError(f"{where}, entry {index} has plugin {plugin!r}; {_FORM}")
        try:
            json.dumps(entry, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PresetError(f"{where}, entry {index} ({plugin}) holds what a preset cannot keep: {error}") from error
    return chain
