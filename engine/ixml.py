"""The ``iXML`` chunk of a Broadcast Wave file: what recorders and editors tell each other about a take.

Source: iXML specification 2.10 (Gallery, ixml.info). Standard library only. A document with a DTD is refused, so that
no entity can grow, and one that is not well-formed is no iXML.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from engine.bext import rescaled

MAX_BYTES = 2**20
_DEEPEST = 64
# A sample count is split into two elements of 32 bits; each pair with its low half first.
_PAIRS = (
    ("TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO", "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI"),
    ("SYNC_POINT_LOW", "SYNC_POINT_HIGH"),
)
# A copy of the bext chunk, which has a new history, and the loudness of a sound that is another now.
_STALE = ("BEXT", "LOUDNESS")


@dataclass(frozen=True)
class Facts:
    """What a document must agree with: ``rate`` in Hz, the first sample's ``start`` since midnight, and ``bits``.

    ``bits`` is None where they are not known yet.
    """

    rate: int
    start: int
    bits: int | None = None


def parse(data: bytes) -> str | None:
    """The document in the payload ``data``; None when it is no iXML or nothing one would want to read."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        found = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        found = data.decode("latin-1")
    found = found.rstrip("\0")
    return found if _root(found) is not None else None


def start(document: str) -> int | None:
    """The first sample's place in samples since midnight, when ``document`` says so."""
    root = _root(document)
    speed = root.find("SPEED") if root is not None else None
    return None if speed is None else _pair(speed, *_PAIRS[0])


def agreeing(document: str, facts: Facts, from_rate: int) -> str:
    """``document``, of a sound at ``from_rate`` Hz, made to agree with ``facts``; the same text where it does."""
    root = _root(document)
    if root is None:
        return document
    changed = False
    for name in _STALE:
        for stale in root.findall(name):
            root.remove(stale)
            changed = True
    speed = root.find("SPEED")
    if speed is not None:
        rate = str(facts.rate)
        low, high = _PAIRS[0]
        wanted = {low: str(facts.start & 0xFFFFFFFF), high: str(facts.start >> 32)}
        wanted |= {"FILE_SAMPLE_RATE": rate, "TIMESTAMP_SAMPLE_RATE": rate}
        if facts.bits is not None:
            wanted["AUDIO_BIT_DEPTH"] = str(facts.bits)
        for name, value in wanted.items():
            changed |= _set(speed, name, value)
    low, high = _PAIRS[1]
    for point in root.iter("SYNC_POINT") if facts.rate != from_rate else ():
        place = _pair(point, low, high)
        if place is not None:
            place = rescaled(place, from_rate, facts.rate)
            changed |= _set(point, low, str(place & 0xFFFFFFFF)) | _set(point, high, str(place >> 32))
    return _DECLARATION + ET.tostring(root, encoding="unicode") if changed else document


def new(facts: Facts, texts: Mapping[str, str]) -> str:
    """A document of our own that says ``facts`` and, each in an element of that name, ``texts``."""
    said = "".join(f"<{name}>{escape(_legal(words))}</{name}>" for name, words in texts.items() if words)
    return (
        f"{_DECLARATION}<BWFXML><IXML_VERSION>2.10</IXML_VERSION>{said}<SPEED>"
        f"<FILE_SAMPLE_RATE>{facts.rate}</FILE_SAMPLE_RATE><AUDIO_BIT_DEPTH>{facts.bits or 0}</AUDIO_BIT_DEPTH>"
        f"<{_PAIRS[0][1]}>{facts.start >> 32}</{_PAIRS[0][1]}>"
        f"<{_PAIRS[0][0]}>{facts.start & 0xFFFFFFFF}</{_PAIRS[0][0]}>"
        f"<TIMESTAMP_SAMPLE_RATE>{facts.rate}</TIMESTAMP_SAMPLE_RATE></SPEED></BWFXML>"
    )


_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _root(document: str) -> ET.Element | None:
    # Deeper nesting than any writer's would have the writer of the tree recurse too far.
    if "<!DOCTYPE" in document or "<!ENTITY" in document:
        return None
    depth, root = 0, None
    parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("start", "end"))
    try:
        parser.feed(document)
        parser.close()
        for seen in parser.read_events():
            event, element = seen[0], seen[-1]
            assert isinstance(element, ET.Element)
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            if depth > _DEEPEST:
                return None
    except (ET.ParseError, ValueError):
        return None
    return root if root is not None and root.tag == "BWFXML" else None


def _pair(parent: ET.Element, low: str, high: str) -> int | None:
    words = [(parent.findtext(name) or "").strip() for name in (low, high)]
    if not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
        return None
    return int(words[1]) << 32 | int(words[0]) & 0xFFFFFFFF


def _set(parent: ET.Element, name: str, value: str) -> bool:
    """Let the element called ``name`` say ``value``, where there is one; whether that changed anything."""
    element = parent.find(name)
    if element is None or (element.text or "").strip() == value:
        return False
    element.text = value
    return True


def _legal(words: str) -> str:
    return "".join(c for c in words if c.isprintable())
