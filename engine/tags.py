"""Short texts about a sound, under their four-letter names of a WAV's ``LIST INFO``, in whatever container they came.

Sources: as `engine.cues`; the names of FLAC's and CAF's texts are libsndfile's. Standard library only.
"""

from collections.abc import Iterable, Mapping

from engine.bext import encoded, text
from engine.cues import chunk, subchunks

MAX_TAGS = 64
_MAX_TEXT = 4096
# What libsndfile calls a text, beside its name in a WAV.
STRINGS: Mapping[str, str] = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "ITRK": "tracknumber",
    "ICRD": "date",
    "IGNR": "genre",
    "ICMT": "comment",
    "ICOP": "copyright",
    "ISFT": "software",
}
_APPLE: Mapping[str, bytes] = {"INAM": b"NAME", "IART": b"AUTH", "ICOP": b"(c) ", "ICMT": b"ANNO"}
APPLE_NAMES = frozenset(_APPLE.values())


def parse_info(data: bytes, order: str = "<") -> dict[str, str]:
    """The texts of a ``LIST INFO``, after those four letters; the first of each name, `MAX_TAGS` at most."""
    return _kept((name, payload) for name, payload in subchunks(data, order))


def pack_info(tags: Mapping[str, str], order: str = "<") -> list[tuple[bytes, bytes]]:
    """The chunk that says ``tags``; none when there are none."""
    texts = [chunk(name.encode("ascii"), encoded(words, _MAX_TEXT - 1) + b"\0", order) for name, words in tags.items()]
    return [(b"LIST", b"INFO" + b"".join(texts))] if texts else []


def parse_aiff(texts: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The tags of an AIFF's text chunks, each a name and its payload."""
    names = {apple: name.encode("ascii") for name, apple in _APPLE.items()}
    return _kept((names.get(name, b""), payload) for name, payload in texts)


def pack_aiff(tags: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The text chunks for those of ``tags`` an AIFF has a place for."""
    return [(_APPLE[name], encoded(words, _MAX_TEXT)) for name, words in tags.items() if name in _APPLE]


def from_strings(strings: Mapping[str, str | None]) -> dict[str, str]:
    """The tags among ``strings``, which have libsndfile's names."""
    return _kept((name.encode(), (strings.get(string) or "").encode()) for name, string in STRINGS.items())


def _kept(found: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for name, payload in found:
        words = text(payload[:_MAX_TEXT])
        if len(name) == 4 and name.isalnum() and name.isascii() and words and len(tags) < MAX_TAGS:
            tags.setdefault(name.decode("ascii"), words)
    return tags
