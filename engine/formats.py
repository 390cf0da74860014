"""Which sound file formats are written, how deep each is, and which one a stem goes back into."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.errors import AudioError

SAMPLE_BYTES: Mapping[str, int] = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
INTEGER_BITS: Mapping[str, int] = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_RIFF = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_APPLE = ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
# What each container that is written can hold.
WRITABLE: Mapping[str, tuple[str, ...]] = {
    "WAV": _RIFF,
    "WAVEX": _RIFF,
    "RF64": _RIFF,
    "W64": _RIFF,
    "AIFF": (*_APPLE, "PCM_U8"),
    "CAF": _APPLE,
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
}
# The container that a file name asks for.
SUFFIXES: Mapping[str, str] = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".rf64": "RF64",
    ".w64": "W64",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".caf": "CAF",
    ".flac": "FLAC",
}
_WAVS = ("WAV", "WAVEX", "RF64")
_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32": "PCM_32", "32F": "FLOAT", "64F": "DOUBLE"}


@dataclass(frozen=True)
class Format:
    """How a sound file is encoded, in libsndfile's words: ``Format("WAV", "PCM_24")``.

    ``endian`` is ``"FILE"`` (the container's own), ``"LITTLE"`` or ``"BIG"``.
    """

    container: str
    subtype: str
    endian: str = "FILE"

    @property
    def suffix(self) -> str:
        """The file name suffix that goes with the container, ``.wav`` for all of WAV's kin.

        >>> Format("RF64", "PCM_24").suffix
        '.wav'
        """
        if self.container in _WAVS:
            return ".wav"
        return {"AIFF": ".aiff"}.get(self.container, f".{self.container.lower()}")

    @property
    def is_float(self) -> bool:
        """Whether samples beyond full scale survive in it."""
        return self.subtype in ("FLOAT", "DOUBLE")


def output_format(source: Format, container: str | None = None, subtype: str | None = None) -> Format:
    """The format a stem that came as ``source`` is written in: its own where that can be written, else WAV PCM_24.

    ``container`` (``WAV``, ``AIFF``, ``FLAC``, ``CAF``, ``W64``, ``RF64``) and ``subtype`` (``PCM_16``, ``FLOAT``… or
    ``16``, ``24``, ``32``, ``32f``, ``64f``) choose another, in any case of letters. A container that cannot hold the
    stem's subtype takes the same depth under its own name (8 bits), else 24 bits. Asking for WAV keeps the kind of WAV
    the stem is. `AudioError` for a name that is not known or a pair that does not go together.

    >>> output_format(Format("AIFF", "PCM_16", "LITTLE"))
    Format(container='AIFF', subtype='PCM_16', endian='LITTLE')
    >>> output_format(Format("MP3", "MPEG_LAYER_III"))
    Format(container='WAV', subtype='PCM_24', endian='FILE')
    >>> output_format(Format("WAV", "FLOAT"), container="flac")
    Format(container='FLAC', subtype='PCM_24', endian='FILE')
    """
    own = source if source.subtype in WRITABLE.get(source.container, ()) else Format("WAV", "PCM_24")
    chosen = own.container
    if container is not None:
        asked = _known("container", container.upper().lstrip("."), {c: c for c in WRITABLE} | {"AIF": "AIFF"})
        chosen = own.container if asked == "WAV" and own.container in _WAVS else asked
    held = WRITABLE[chosen]
    if subtype is not None:
        known = {s: s for s in SAMPLE_BYTES} | _DEPTHS | {"8": "PCM_S8" if "PCM_S8" in held else "PCM_U8"}
        kept = _known("subtype", subtype.upper(), known)
        if kept not in held:
            raise AudioError(f"{chosen} cannot hold {kept}; expected one of {', '.join(held)}")
    else:
        bits = INTEGER_BITS.get(own.subtype)
        same_depth = (s for s in held if bits and INTEGER_BITS.get(s) == bits)
        kept = own.subtype if own.subtype in held else next(same_depth, "PCM_24")
    if (chosen, kept) == (own.container, own.subtype):
        return own
    return Format(chosen, kept)


def _known(what: str, name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    raise AudioError(f"no {what} is called {name!r}{_nearest(name, names)}; there are {', '.join(sorted(names))}")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1, 0.4)
    return f", did you mean {near[0]!r}?" if near else ""
