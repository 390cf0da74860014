"""What one look at the watched folder gives the daemon: the scan, without outputs, and with albums put together.

The stems that an album names are the album's: they are not rendered once more by themselves, and the album waits
until every one of them is still, and every MIDI file that it names or that lies beside them. All other stems of its
folder are taken as anywhere else, so that none is forgotten.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from render import manifest
from render.errors import InputError
from watch import names
from watch.config import Configs
from watch.scan import Found, ScanResult, Snapshot, scan


@dataclass(frozen=True)
class _Named:
    """The files in the watched folder that an album names, by their relative paths."""

    stems: frozenset[str] = frozenset()
    songs: frozenset[str] = frozenset()


class Intake:
    """Looks at ``root`` as ``configs`` has it; the trees in ``exclude`` (a state folder, say) are never looked into."""

    def __init__(self, root: Path, configs: Configs, exclude: Collection[Path] = ()) -> None:
        self.root = root
        self._configs = configs
        self._exclude = frozenset(exclude)
        self._outputs: frozenset[Path] = frozenset()
        self._tracks: dict[str, tuple[Snapshot, _Named]] = {}

    @property
    def excluded(self) -> frozenset[Path]:
        """The trees that the last look left out: what happens in them is nothing to wake for."""
        return self._exclude | self._outputs

    def look(self) -> ScanResult:
        """One scan; of what each watch.toml has for an output folder, nothing is found."""
        result = scan(self.root, self.excluded)
        # A folder that stops being one for outputs, or becomes one, does so in the same look.
        outputs = self._configs.outputs({*result.configs, ""})
        if outputs != self._outputs:
            self._outputs = outputs
            result = scan(self.root, self.excluded)
        return self._with_albums(result)

    def _with_albums(self, result: ScanResult) -> ScanResult:
        albums = [found for found in result.found if found.kind == "album"]
        if not albums:
            self._tracks.clear()
            return result
        tracks = {album.relative: self._tracks_of(album) for album in albums}
        self._tracks = {album.relative: (album.snapshot, tracks[album.relative]) for album in albums}
        claimed = frozenset().union(*(named.stems for named in tracks.values()))
        states = {found.relative: found for found in result.found if found.relative in claimed}
        found = []
        for one in result.found:
            if one.kind == "album":
                named = tracks[one.relative]
                there = [states[track] for track in sorted(named.stems & states.keys())]
                files = [shot for stem in there for shot in (stem.snapshot, *stem.beside)]
                files += [result.songs[song] for song in sorted(named.songs & result.songs.keys())]
                found.append(replace(one, beside=(*dict.fromkeys(files), *one.beside)))
            elif one.relative not in claimed:
                found.append(one)
        return replace(result, found=tuple(found))

    def _tracks_of(self, album: Found) -> "_Named":
        """The files that ``album`` names; none while its manifest cannot be read, which the worker will say."""
        kept = self._tracks.get(album.relative)
        if kept and kept[0] == album.snapshot:
            return kept[1]
        try:
            read, _ = manifest.load(album.path)
        except (InputError, OSError):
            return _Named()
        home = self.root / names.folder_of(album.relative)

        def here(paths: Iterable[str | None]) -> frozenset[str]:
            named = (Path(os.path.normpath(home / path)) for path in paths if path)
            return frozenset(names.relative(self.root, path) for path in named if path.is_relative_to(self.root))

        tables = (read.album, *read.track)
        lanes = [lane for table in tables if isinstance(table.automation, list) for lane in table.automation]
        songs = [table.tempo for table in tables] + [track.midi for track in read.track]
        songs += [path for lane in lanes if isinstance(lane, dict) and isinstance(path := lane.get("midi"), str)]
        return _Named(here(track.stem for track in read.track), here(songs))
