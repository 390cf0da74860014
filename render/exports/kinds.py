"""Which formats a session is exported in, and the ending of each."""

from collections.abc import Mapping

SUFFIXES: Mapping[str, str] = {"dawproject": ".dawproject", "rpp": ".rpp", "midi": ".mid", "aaf": ".aaf"}
