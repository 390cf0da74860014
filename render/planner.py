"""From stems or a manifest to a plan, or to every mistake at once. Files are probed, no audio is decoded."""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine import audio, device
from engine.errors import AudioError, EngineError
from engine.style import Settings
from presets import chainfile, resolve
from presets.errors import PresetError
from presets.library import Library
from presets.preset import Preset
from render import (
    automation,
    delivery,
    destination,
    instrument,
    manifest,
    midifiles,
    midirender,
    outformat,
    pluginfiles,
    provenance,
    songs,
    stamps,
    tails,
)
from render import chain as chains
from render.chain import Chain
from render.choices import Choices, Layer, chosen, command_line, of_table
from render.delivery import Wish
from render.destination import Destination
from render.errors import InputError, MidiError, Mistake, RenderError, nearest
from render.instrument import Performance
from render.manifest import TrackTable
from render.naming import NamingError
from render.plan import Job, Plan, Unreadable
from render.tempo import Song

DRY = "dry"
_NO_CHOICES = Choices()
_NO_WISH = Wish()


@dataclass(frozen=True)
class _Request:
    """One stem as it was asked for, before anything was looked at."""

    file: str
    key: str
    index: int
    title: str
    stem: Path
    layers: tuple[Layer, ...]
    destination: Destination
    chains: tuple[tuple[object, str], ...] = ()
    album: str | None = None
    is_midi: bool = False
    performance: Performance | None = None


def plan_stems(
    stems: Sequence[Path],
    *,
    library: Library,
    choices: Choices = _NO_CHOICES,
    out: Path | None = None,
    overwrite: bool = False,
    with_chain: bool = True,
    chain: Path | None = None,
    wish: Wish = _NO_WISH,
) -> Plan:
    """A plan to render ``stems`` by ``choices``, and to write what ``wish`` says beside the outputs.

    ``out`` is one file (for one stem), a template with {fields}, or a folder; without it outputs go beside their stems.
    ``chain`` is a file of [[chain]] tables instead of the preset's; ``with_chain=False`` leaves it out. Raises
    `InputError` with every mistake.
    """
    layer, mistakes = command_line(choices)
    planner = _Planner(library, overwrite, with_chain, mistakes, chain_file=chain)
    where = destination.of_stems(out, len(stems), mistakes)
    for index, stem in enumerate(stems, 1):
        here = where or destination.beside(stem)
        planner.add(_Request("", "", index, stem.stem, stem, (layer,), here))
    title = stems[0].stem if len(stems) == 1 else f"{len(stems)} stems"
    return planner.plan(title, wish, delivery.named(stems) if stems else title)


def plan_album(
    path: Path,
    *,
    library: Library,
    choices: Choices = _NO_CHOICES,
    out: Path | None = None,
    overwrite: bool = False,
    with_chain: bool = True,
    chain: Path | None = None,
    wish: Wish = _NO_WISH,
) -> Plan:
    """A plan to render the album of the manifest at ``path``, with ``choices`` over what it says.

    ``out`` is the output folder instead of the one the manifest names. ``with_chain=False`` leaves out all chains,
    ``chain`` is a file of [[chain]] tables instead of all of them.
    ``wish`` wins over what the manifest says of exports and the report.
    Raises `InputError` with every mistake of the manifest, its presets, stems, chains and outputs.
    """
    file = str(path)
    layer, mistakes = command_line(choices)
    read, more = manifest.load(path)
    mistakes += more
    album = read.album
    title = album.title or path.stem
    planner = _Planner(library, overwrite, with_chain, mistakes, [path], chain_file=chain)
    where = destination.of_album(album.output, out, path, mistakes)
    parts: list[tuple[_Request, TrackTable]] = []
    for index, track in enumerate(read.track, 1):
        key = f"track[{index}]"
        planner.check_source(track, file, key)
        source = track.stem if track.stem is not None else track.midi
        if source is None:
            continue
        stem = path.parent / pluginfiles.from_home(source)
        tables = (Layer(file, key, of_table(track), path.parent), Layer(file, "album", of_table(album), path.parent))
        raw = [(track.chain, f"{key}.chain"), (None if track.album_chain is False else album.chain, "album.chain")]
        written = tuple(pair for pair in raw if pair[0] is not None)
        name = stem.stem if track.midi_track is None else f"{stem.stem} {track.midi_track}"
        request = _Request(file, key, index, track.title or name, stem, (layer, *tables), where, written, title)
        if track.stem is not None:
            planner.add(request)
        else:
            parts.append((replace(request, is_midi=True), track))
    # After the stems, whose rate instruments play at.
    for request, track in parts:
        planner.add_part(request, track)
    said = Wish(None if album.export is None else tuple(album.export), album.export_originals, album.report)
    # What was typed is wrong on the command line, whatever the manifest says.
    return planner.plan(title, wish.over(said), title, file if wish.exports is None else "")


@dataclass
class _Planner:
    """Turns requests into jobs and collects what is wrong with them."""

    library: Library
    overwrite: bool
    with_chain: bool
    mistakes: list[Mistake]
    inputs: list[Path] = field(default_factory=list)
    found: list[tuple[_Request, Job]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    presets: dict[tuple[resolve.BlendSpec, Path | None], Preset | PresetError] = field(default_factory=dict)
    songs: dict[Path, Song] = field(default_factory=dict)
    chain_file: Path | None = None

    def wrong(self, file: str, key: str, message: str) -> None:
        """Note a mistake, once."""
        mistake = Mistake(file, key, message)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def check_source(self, track: TrackTable, file: str, key: str) -> None:
        """Note what is wrong with where ``track`` takes its sound from: a stem, or a MIDI file and an instrument."""
        keys = {m.key for m in self.mistakes}
        if track.stem is not None:
            for name in ("midi", "midi_track", "instrument"):
                if getattr(track, name) is not None:
                    self.wrong(file, f"{key}.{name}", "found beside a stem; expected a stem, or midi and instrument")
        elif track.midi is None and not keys & {key, *(f"{key}.{name}" for name in ("stem", "midi"))}:
            expected = "expected the path of an audio file, or midi and instrument"
            self.wrong(file, f"{key}.stem", f"is missing; {expected}")

    def add_part(self, request: _Request, track: TrackTable) -> None:
        """As `add`, for a part of a MIDI file that an instrument plays: at the album's rate, if it has one."""
        before = len(self.mistakes)

        def wrong(key: str, message: str) -> None:
            near = _neighbour(request.stem) if key == "midi" and _mode(request.stem) is None else ""
            self.wrong(request.file, f"{request.key}.{key}", f"{message}{near}")

        read = instrument.read_part(request.stem, track.midi_track, wrong)
        player = None
        if not any(m.key == f"{request.key}.instrument" for m in self.mistakes):
            player = instrument.read(track.instrument, folder=request.layers[-1].base, wrong=wrong)
        if read is not None and player is not None and len(self.mistakes) == before:
            rates = Counter(job.info.rate for _, job in self.found if job.performance is None)
            rate = player.rate or max(rates, key=lambda hz: (rates[hz], hz), default=instrument.DEFAULT_RATE)
            request = replace(request, performance=Performance(read.part, read.sha256, player, rate, read.song))
        self.add(request)

    def add(self, request: _Request) -> None:
        """Look behind every name in ``request``; a job when nothing is wrong."""
        before = len(self.mistakes)
        performance = request.performance
        info = performance.info if performance else None if request.is_midi else self._stem(request)
        preset, label = self._preset(request)
        settings = self._settings(request, preset)
        moving = self._moving(request, preset)
        chain = moving.chain
        settings = None if settings is None else moving.settled(settings)
        song, song_notes = self._song(request)
        if info is None:
            return
        self.inputs.append(info.path)
        for reason in chains.misfits(chain, rate=info.rate, channels=info.channels):
            self.wrong(request.file, request.key, f"{info.path.name}: {reason}")
        try:
            form, where = outformat.decide(request.layers, request.destination, info, request.file)
        except InputError as error:
            self.mistakes += [mistake for mistake in error.mistakes if mistake not in self.mistakes]
            return
        if settings is None or len(self.mistakes) > before:
            return
        values: dict[str, str | int] = {
            "index": request.index,
            "track": request.title,
            "title": request.title,
            "stem": request.stem.stem,
            "preset": label,
            "quality": settings.quality,
            "seed": settings.seed,
        }
        if request.album is not None:
            values["album"] = request.album
        try:
            output = where.output(values, outformat.suffix(form, request.stem))
        except NamingError as error:
            self.wrong(where.file, where.key, str(error))
            return
        tail_s = chosen(request.layers, "tail_s")[0]
        advice = midirender.advice(performance.part, programs=performance.instrument.programs) if performance else ()
        job = Job(
            index=request.index,
            title=request.title,
            info=info,
            root=where.root,
            output=output,
            preset=preset,
            label=label,
            settings=settings,
            chain=chain,
            format=form,
            overs=chosen(request.layers, "overs")[0] or "limit",
            tail_samples=tails.samples(tail_s, info.rate),
            overwrite=self.overwrite,
            notes=(
                *chains.notes(chain, channels=info.channels),
                *outformat.notes(info.format, form, request.layers),
                *song_notes,
                *moving.notes,
                *advice,
            ),
            song=song,
            song_start_s=songs.into_session_s(info.path) if song and chosen(request.layers, "tempo")[1] else 0.0,
            performance=performance,
            loudness_lufs=chosen(request.layers, "loudness_lufs")[0],
            ceiling_dbtp=chosen(request.layers, "ceiling_dbtp")[0],
            amount_line=moving.amount,
            mix_line=moving.mix,
            tail_auto=tail_s == tails.AUTO,
        )
        if job.levelled:
            from render.loudness import MIN_RATE

            if info.rate < MIN_RATE:
                message = f"{info.path.name} is at {info.rate} Hz; expected at least {MIN_RATE} Hz"
                self.wrong(request.file, request.key, f"{message} where a loudness or a ceiling is asked for")
                return
        rings = (f"goes on until its chain is quiet, at most {tails.LONGEST_S:g} s",) if job.rings else ()
        job = replace(job, notes=(*job.notes, *rings, *_lost(job)))
        self.found.append((request, job))

    def plan(self, title: str, wish: Wish, name: str, file: str = "") -> Plan:
        """The plan of all that was added; `InputError` with every mistake there is.

        ``name`` is that of the files that ``wish`` asks for; ``file`` the manifest, if there is one.
        """
        self.inputs += [path for _, job in self.found for path in chains.files(job.chain)]
        requests = {request.index: request for request, _ in self.found}
        outputs = {request.index: job.output for request, job in self.found}
        for number, problem in destination.conflicts(outputs, self.inputs).items():
            request = requests[number]
            self.wrong(request.file, request.key, f"{request.stem.name} {problem}")
        jobs = [self._in_place(request, job) for request, job in sorted(self.found, key=lambda pair: pair[1].index)]
        handed, more = delivery.decide(wish, name, jobs, self.inputs, file=file, overwrite=self.overwrite)
        self.mistakes += more
        if not jobs and not self.mistakes:
            self.mistakes += [Mistake("", "", stem.reason) for stem in self.unreadable]
        if self.mistakes:
            raise InputError(self.mistakes)
        return Plan(title, tuple(jobs), tuple(self.unreadable), handed)

    def _stem(self, request: _Request) -> audio.Info | None:
        if request.stem.suffix.lower() in midifiles.SUFFIXES:
            what = "expected an audio file, or a manifest's track with midi = FILE and instrument = { plugin = … }"
            key = f"{request.key}.stem" if request.key else ""
            self.wrong(request.file, key, f"{request.stem} is MIDI, which makes no sound of its own; {what}")
            return None
        try:
            return audio.probe(request.stem)
        except AudioError as error:
            mode = _mode(request.stem)
            if mode is not None and not stat.S_ISDIR(mode):
                self.unreadable.append(Unreadable(request.index, request.title, request.stem, str(error)))
            else:
                key = f"{request.key}.stem" if request.key else ""
                near = _neighbour(request.stem) if mode is None else ""
                self.wrong(request.file, key, f"{error}{near}")
            return None

    def _preset(self, request: _Request) -> tuple[Preset | None, str]:
        value, layer = chosen(request.layers, "preset")
        if layer is None:
            asked = chosen(request.layers, "amount")[0]
            keys = {m.key for m in self.mistakes}
            if asked != 0 and not keys & {layer.key("preset") for layer in request.layers}:
                where = "--preset" if not request.key else f"{request.key}.preset"
                message = 'is missing; expected a preset like "tape" or a blend (or amount 0, which needs none)'
                self.wrong(request.file, where, message)
            return None, DRY
        try:
            spec = resolve.parse(value)
            place = (spec, layer.base)
            if place not in self.presets:
                self.presets[place] = self._load(spec, layer.base)
            loaded = self.presets[place]
            if isinstance(loaded, PresetError):
                raise loaded
            return loaded, spec.label
        except PresetError as error:
            self.wrong(layer.file, layer.key("preset"), str(error))
            return None, DRY

    def _song(self, request: _Request) -> tuple[Song | None, tuple[str, ...]]:
        """The song that was chosen for the stem, or the one beside it, and what there is to note about that."""
        value, layer = chosen(request.layers, "tempo")
        if layer is None and request.performance is not None:
            return request.performance.song, ()
        if layer is None:
            return songs.of_stem(request.stem)
        path = (layer.base or Path()) / pluginfiles.from_home(value)
        try:
            if path not in self.songs:
                self.songs[path] = songs.chosen(path)
            return self.songs[path], ()
        except MidiError as error:
            self.wrong(layer.file, layer.key("tempo"), f"{error}{_neighbour(path) if _mode(path) is None else ''}")
            return None, ()

    def _load(self, spec: resolve.BlendSpec, base: Path | None) -> Preset | PresetError:
        try:
            return resolve.load_blend(spec, self.library, base=base)
        except PresetError as error:
            return error
        except (OSError, ValueError, RuntimeError) as error:  # a path that no file can have
            return PresetError(f"preset {spec.label!r} cannot be read: {error}")

    def _settings(self, request: _Request, preset: Preset | None) -> Settings | None:
        names = ("amount", "mix", "quality", "seed", "device")
        given = {name: value for name in names if (value := chosen(request.layers, name)[0]) is not None}
        if preset is not None:
            given.setdefault("amount", preset.card.amount)
        try:
            device.pick(given.get("device", "auto"))
            return Settings(**given)
        except EngineError as error:
            layer = chosen(request.layers, "device")[1]
            self.wrong(layer.file if layer else "", layer.key("device") if layer else "--device", str(error))
            return None

    def _moving(self, request: _Request, preset: Preset | None) -> automation.Decided:
        """The chain of ``request``, and what of it, of amount and of mix changes with time."""
        before = len(self.mistakes)
        parts = self._chain(request, preset)
        # Steps that are wrong are not there, and the others no longer where they were written.
        replaced = not self.with_chain or self.chain_file is not None or len(self.mistakes) > before
        decided = automation.decide(request.layers, parts, request.stem, replaced=replaced)
        for mistake in decided.mistakes:
            self.wrong(mistake.file, mistake.key, mistake.message)
        return decided

    def _chain(self, request: _Request, preset: Preset | None) -> list[tuple[str | None, Chain]]:
        """The parts of the chain, each with the prefix of the table that it was written in, if it was in one."""
        if not self.with_chain:
            return []
        written: list[tuple[str | None, object, str, str, Path | None]]
        written = [
            (key.removesuffix(".chain"), raw, request.file, key, request.layers[-1].base) for raw, key in request.chains
        ]
        if self.chain_file is not None:
            try:
                read = chainfile.tables(self.chain_file)
            except PresetError as error:
                self.wrong("", "--chain", str(error))
                return []
            written = [(None, read, str(self.chain_file), "chain", self.chain_file.parent)]
        elif not written and preset is not None and preset.card.chain:
            written = [(None, preset.card.chain, f"preset {preset.name}", "chain", None)]
        parts = []
        for owner, raw, file, key, folder in written:
            steps, mistakes = chains.parse(raw, file=file, key=key, folder=folder)
            for mistake in mistakes:
                self.wrong(mistake.file, mistake.key, mistake.message)
            parts.append((owner, steps))
        return parts

    def _in_place(self, request: _Request, job: Job) -> Job:
        """``job``, done when its output is there already; a mistake when something else is."""
        if not os.path.lexists(job.output):
            return job
        if job.output.is_dir():
            self.wrong(request.file, request.key, f"{job.output} is a folder; expected a free name for the output")
            return job
        try:
            if stamps.holds(job.output, job.inputs()):
                return replace(job, done=True)
        except RenderError as error:
            self.wrong(request.file, request.key, str(error))
        if not job.overwrite:
            message = f"{job.output} exists and was not rendered from these inputs; --overwrite replaces it"
            self.wrong(request.file, request.key, message)
        return job


def _mode(path: Path) -> int | None:
    """What ``path`` is, or None when nothing is there or nothing can be, as for a name that is too long."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def _lost(job: Job) -> list[str]:
    """What the stem says beside its sound and the output will not."""
    if job.performance is not None or (job.untouched and job.format == job.info.format):
        return []
    try:
        return provenance.lost(job, audio.read_annotations(job.stem))
    except AudioError:
        return []  # it was read a moment ago; the render will say what is wrong with it now


def _neighbour(path: Path) -> str:
    try:
        there = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    except (OSError, ValueError):
        return ""
    return nearest(path.name, there)
