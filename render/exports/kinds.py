"""Which formats a session is exported in, and the ending of each.

The tempo map is not called like a song: a MIDI file beside a stem of the same name would be taken for its notes.
"""

from collections.abc import Mapping

SUFFIXES: Mapping[str, str] = {"dawproject": ".dawproject", "rpp": ".rpp", "midi": ".tempo.mid", "aaf": ".aaf"}
