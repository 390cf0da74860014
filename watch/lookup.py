"""Which preset or blend a name stands for, by a library that may change at any time."""

import time
from collections.abc import Callable

from presets import names as preset_names
from presets import resolve
from presets.errors import PresetError
from presets.library import Library
from watch import names

_KEPT_S = 1.0


class Lookup:
    """Asks ``library`` for presets, once a second for each at most by ``clock``.

    Without a library every name that a preset may have is taken for one.
    """

    def __init__(self, library: Library | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._library = library
        self._clock = clock
        self._asked: dict[str, str | None] = {}
        self._asked_at = clock()

    @property
    def certain(self) -> bool:
        """Whether there is a library to ask."""
        return self._library is not None

    def missing(self, name: str) -> str | None:
        """Why there is no preset called ``name``, with the nearest that there is; None when there is one."""
        if self._library is None:
            return None
        now = self._clock()
        if now - self._asked_at > _KEPT_S:
            # Many stems wait for one preset, and a library is a folder that has to be listed.
            self._asked.clear()
            self._asked_at = now
        if name not in self._asked:
            try:
                self._library.find(name)
                self._asked[name] = None
            except PresetError as error:
                self._asked[name] = str(error)
        return self._asked[name]

    def named(self, folder: str) -> str | None:
        """The preset or blend that a folder called ``folder`` is named after, as `resolve.parse` reads it, or None.

        ``tape``, ``tape:0.7,choir:0.3`` and, for systems whose names hold no colon, ``tape70-choir30``.

        >>> Lookup(None).named("tape:0.7,choir:0.3"), Lookup(None).named("what? no")
        ('tape:0.7,choir:0.3', None)
        """
        whole = preset_names.composed(folder)
        for text in (whole, *(",".join(f"{n}:{w}" for n, w in blend.items()) for blend in names.blends(whole))):
            try:
                parts = resolve.parse(text).parts
            except PresetError:
                continue
            if not any(preset_names.is_path(part.preset) or self.missing(part.preset) for part in parts):
                return text
        return None

    def unnamed(self, folder: str) -> str:
        """Why the stems in ``folder``, which names no preset, have to wait."""
        try:
            problem = self.missing(preset_names.validated(folder))
        except PresetError:
            problem = None
        return problem or f"no preset is called {folder!r}"
