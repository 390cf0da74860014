"""Sessions for DAWs: every clip at its sample, in every format, read back by other means than those that wrote it."""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import mido
import pytest
from torch import Tensor

from engine import audio
from presets.library import Library
from render import planner
from render.choices import Choices
from render.errors import RenderError
from render.exports import aaf, dawproject, midi, rpp, session
from render.exports.session import Clip, Session, Track
from render.tempo import Marker, Metre, Song, Tempo, TempoMap

SCHEMAS = Path(__file__).parents[3] / "shared" / "dawproject"
MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]
TEMPO = TempoMap(480, (Tempo(0, 500_000), Tempo(960, 600_000)), (Metre(0, 4, 4), Metre(1920, 3, 4)))
MARKERS = (Marker(0.5, "Verse"), Marker(1.25, 'Chö "rus" & <so on>'))


@pytest.fixture
def clips(make_stem: MakeStem, noise: Noise) -> tuple[Clip, ...]:
    """Two clips at two rates, with names that need quoting, one of them starting a day less a second late."""

    def clip(name: str, start: int, rate: int, channels: int, frames: int, container: str = "WAV") -> Clip:
        path = make_stem(name, noise(channels, frames), container=container, rate=rate)
        return Clip(path.stem, path, start, frames, rate, channels, audio.probe(path).format)

    return (
        clip("vöx one.wav", 86_399 * 44_100 + 1, 44_100, 2, 4_801),
        clip("b's dub.wav", 12_345, 192_000, 1, 1),
    )


@pytest.fixture
def album(clips: tuple[Clip, ...]) -> Session:
    """The two clips on two tracks, the second muted, with tempo changes, markers and a start at one o'clock."""
    tracks = (Track('Vox "A" & <B>', clips[:1]), Track("it's ünder", clips[1:], muted=True))
    return Session("Night Bus", tracks, 44_100, TEMPO, MARKERS, 3_600)


def _written(writer: Any, what: Session, path: Path) -> Path:
    writer.write(what, path, path)
    return path


def _project(path: Path) -> ElementTree.Element:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return ElementTree.fromstring(archive.read("project.xml"))


def _reaper(text: str) -> dict[str, Any]:
    """A REAPER project as nested {keyword: [lines]}, by its own rules: one of three quotes where there are blanks."""
    root: dict[str, Any] = {}
    stack = [root]
    for line in text.splitlines():
        tokens = [a or b or c or d for a, b, c, d in re.findall(r'"([^"]*)"|\'([^\']*)\'|`([^`]*)`|(\S+)', line)]
        if tokens[0] == ">":
            stack.pop()
        elif tokens[0].startswith("<"):
            inner: dict[str, Any] = {"": tokens[1:]}
            stack[-1].setdefault(tokens[0][1:], []).append(inner)
            stack.append(inner)
        else:
            stack[-1].setdefault(tokens[0], []).append(tokens[1:])
    assert stack == [root]
    project: dict[str, Any] = root["REAPER_PROJECT"][0]
    return project


def test_dawproject_has_every_clip_at_its_sample(album: Session, tmp_path: Path) -> None:
    """Time and length in seconds times the clip's rate are whole samples, to a thousandth, a day into the session."""
    project = _project(_written(dawproject, album, tmp_path / "a.dawproject"))
    found = project.findall(".//Clip")
    assert len(found) == len(album.clips)
    for element, clip in zip(found, album.clips, strict=True):
        assert float(element.attrib["time"]) * clip.rate == pytest.approx(clip.start_samples, abs=1e-3)
        assert float(element.attrib["duration"]) * clip.rate == pytest.approx(clip.length_samples, abs=1e-3)
        form = element.find("Audio")
        assert form is not None
        assert (form.attrib["sampleRate"], form.attrib["channels"]) == (str(clip.rate), str(clip.channels))


def test_dawproject_holds_the_audio(album: Session, tmp_path: Path) -> None:
    """Every file that is named lies in the archive, byte for byte."""
    path = _written(dawproject, album, tmp_path / "a.dawproject")
    names = [file.attrib["path"] for file in _project(path).findall(".//File")]
    with zipfile.ZipFile(path) as archive:
        assert [archive.read(name) for name in names] == [clip.path.read_bytes() for clip in album.clips]


def test_dawproject_mutes_the_originals(album: Session, tmp_path: Path) -> None:
    """The muted track, and it alone, is muted; names come through with their quotes and brackets."""
    project = _project(_written(dawproject, album, tmp_path / "a.dawproject"))
    tracks = [track for track in project.findall("./Structure/Track") if track.find("Channel/Mute") is not None]
    muted = {track.attrib["name"]: track.find("Channel/Mute").attrib["value"] for track in tracks}  # type: ignore[union-attr]
    assert muted == {'Vox "A" & <B>': "false", "it's ünder": "true"}


def test_dawproject_keeps_tempo_and_markers(album: Session, tmp_path: Path) -> None:
    """Tempo and metre change at their beats and hold; markers stand at their seconds."""
    project = _project(_written(dawproject, album, tmp_path / "a.dawproject"))
    points = [(p.attrib["time"], p.attrib["value"], p.attrib["interpolation"]) for p in project.iter("RealPoint")]
    assert points == [("0.0", "120.0", "hold"), ("2.0", "100.0", "hold")]
    metres = [tuple(p.attrib.values()) for p in project.iter("TimeSignaturePoint")]
    assert metres == [("0.0", "4", "4"), ("4.0", "3", "4")]
    markers = [(float(m.attrib["time"]), m.attrib["name"]) for m in project.iter("Marker")]
    assert markers == [(marker.seconds, marker.text) for marker in MARKERS]


@pytest.mark.parametrize("bare", [False, True])
def test_dawproject_is_valid(album: Session, tmp_path: Path, bare: bool) -> None:
    """Both documents pass the published schemas, every reference to an id included, with and without a tempo."""
    if not SCHEMAS.is_dir():
        pytest.skip("the published schemas are not beside this checkout")
    xmlschema = pytest.importorskip("xmlschema")
    what = replace(album, tempo=None, markers=()) if bare else album
    with zipfile.ZipFile(_written(dawproject, what, tmp_path / "a.dawproject")) as archive:
        for name, schema in (("project.xml", "Project.xsd"), ("metadata.xml", "MetaData.xsd")):
            read = xmlschema.XMLSchema(str(SCHEMAS / schema))
            text = archive.read(name).decode("utf-8")
            read.validate(text)
            # A reference that leads nowhere would be seen.
            assert not read.is_valid(text.replace('track="track-1"', 'track="track-9"')) or name == "metadata.xml"


def test_dawproject_ids_are_there(album: Session, tmp_path: Path) -> None:
    """Ids are unique and every reference leads to one, also where no schema is at hand."""
    project = _project(_written(dawproject, album, tmp_path / "a.dawproject"))
    ids = [element.attrib["id"] for element in project.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    named = [e.attrib[key] for e in project.iter() for key in ("track", "destination", "parameter") if key in e.attrib]
    assert len(named) == 2 * len(album.tracks) + 2
    assert set(named) <= set(ids)


def test_dawproject_has_the_same_bytes_again(album: Session, tmp_path: Path) -> None:
    """The same session gives the same bytes: no clock, no chance."""
    first, second = (_written(dawproject, album, tmp_path / f"{n}.dawproject").read_bytes() for n in "ab")
    assert first == second


def test_rpp_has_every_clip_at_its_sample(album: Session, tmp_path: Path) -> None:
    """Position and length times the clip's rate are whole samples, to a thousandth; the media is found and whole."""
    folder = tmp_path / "session"
    folder.mkdir()
    project = _reaper(_written(rpp, album, folder / "a.rpp").read_text(encoding="utf-8"))
    items = [track["ITEM"][0] for track in project["TRACK"]]
    for item, clip in zip(items, album.clips, strict=True):
        assert float(item["POSITION"][0][0]) * clip.rate == pytest.approx(clip.start_samples, abs=1e-3)
        assert float(item["LENGTH"][0][0]) * clip.rate == pytest.approx(clip.length_samples, abs=1e-3)
        assert (folder / item["SOURCE"][0]["FILE"][0][0]).resolve() == clip.path.resolve()
        assert item["SOURCE"][0][""] == ["WAVE"]


def test_rpp_keeps_names_mutes_tempo_and_markers(album: Session, tmp_path: Path) -> None:
    """Names come through their quotes; tempo and metre stand at their seconds; the start is one o'clock."""
    project = _reaper(_written(rpp, album, tmp_path / "a.rpp").read_text(encoding="utf-8"))
    assert [(t["NAME"][0][0], t["MUTESOLO"][0][0]) for t in project["TRACK"]] == [
        ('Vox "A" & <B>', "0"),
        ("it's ünder", "1"),
    ]
    assert project["PROJOFFS"][0][0] == "3600"
    assert project["SAMPLERATE"][0][0] == "44100"
    points = project["TEMPOENVEX"][0]["PT"]
    assert [(float(p[0]), float(p[1])) for p in points] == [(0, 120), (1, 100), (2.2, 100)]
    assert [int(p[3]) for p in points if len(p) > 3] == [4 << 16 | 4, 4 << 16 | 3]
    assert [(float(m[1]), m[2]) for m in project["MARKER"]] == [(m.seconds, m.text) for m in MARKERS]


def test_midi_says_tempo_and_markers(album: Session, tmp_path: Path) -> None:
    """Played by mido, every marker and every change comes at its second, to a nanosecond or half a tick."""
    song = mido.MidiFile(_written(midi, album, tmp_path / "a.mid"), charset="utf-8")
    now, heard = 0.0, []
    for message in song:
        now += message.time
        heard.append((now, message))
    markers = [(at, m.text) for at, m in heard if m.type == "marker"]
    assert [text for _, text in markers] == [m.text for m in MARKERS]
    for (at, _), marker in zip(markers, MARKERS, strict=True):
        assert at == pytest.approx(marker.seconds, abs=0.6 / 480 / 2)
    tempos = [(round(at, 9), m.tempo) for at, m in heard if m.type == "set_tempo"]
    assert tempos == [(0, 500_000), (1, 600_000)]
    metres = [(round(at, 9), m.numerator, m.denominator) for at, m in heard if m.type == "time_signature"]
    assert metres == [(0, 4, 4), (2.2, 3, 4)]
    assert now == pytest.approx(album.end_s, abs=1e-3)


def test_midi_without_a_tempo(album: Session, tmp_path: Path) -> None:
    """Where no tempo is known it is 120 a minute, as in every DAW, and markers keep their seconds."""
    song = mido.MidiFile(_written(midi, replace(album, tempo=None), tmp_path / "a.mid"), charset="utf-8")
    assert [m.tempo for m in song.tracks[0] if m.type == "set_tempo"] == [500_000]


def _aaf_slots(path: Path) -> list[tuple[str, int, int, int, str, bool]]:
    """Name, rate, start, length, file and whether it is silenced, of each sound slot of the composition."""
    import aaf2
    from aaf2.components import Filler, OperationGroup

    found = []
    with aaf2.open(str(path)) as file:
        for slot in next(iter(file.content.toplevel())).slots:
            if slot.media_kind != "Sound":
                continue
            start, clip = 0, None
            for part in slot.segment.components:
                if isinstance(part, Filler):
                    start += part.length
                else:
                    clip = part
            silenced = isinstance(clip, OperationGroup)
            if isinstance(clip, OperationGroup):
                assert next(iter(clip.parameters)).value == 0
                clip = next(iter(clip.segments))
            assert clip is not None
            linked = clip.mob.slot_at(clip.slot_id).segment.mob
            url = next(iter(linked.descriptor["Locator"].value))["URLString"].value
            found.append((slot.name, int(Fraction(str(slot.edit_rate))), start, clip.length, url, silenced))
    return found


def test_aaf_has_every_clip_at_its_sample(album: Session, tmp_path: Path) -> None:
    """Counted in samples of the clip's own rate, a track for each channel, linked to the file; originals at gain 0."""
    pytest.importorskip("aaf2")
    first, second = album.clips
    assert _aaf_slots(_written(aaf, album, tmp_path / "a.aaf")) == [
        ('Vox "A" & <B> 1', 44_100, first.start_samples, 4_801, first.path.as_uri(), False),
        ('Vox "A" & <B> 2', 44_100, first.start_samples, 4_801, first.path.as_uri(), False),
        ("it's ünder", 192_000, 12_345, 1, second.path.as_uri(), True),
    ]


def test_aaf_links_only_what_it_can(album: Session, make_stem: MakeStem, tmp_path: Path) -> None:
    """FLAC is refused with what to do instead."""
    pytest.importorskip("aaf2")
    path = make_stem("x.flac", container="FLAC", subtype="PCM_16")
    clip = replace(album.clips[0], path=path, format=audio.probe(path).format)
    with pytest.raises(RenderError, match=r"x\.flac is FLAC; expected WAV or AIFF for AAF"):
        _written(aaf, replace(album, tracks=(Track("x", (clip,)),)), tmp_path / "a.aaf")


def test_aaf_says_what_is_missing(album: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyaaf2 the error names the extra to install."""
    monkeypatch.setitem(__import__("sys").modules, "aaf2", None)
    with pytest.raises(RenderError, match=r"needs pyaaf2.*gramophone\[aaf\]"):
        _written(aaf, album, tmp_path / "a.aaf")


def _session(
    make_stem: MakeStem,
    shelf: Library,
    tmp_path: Path,
    references: Mapping[str, int],
    songs: Mapping[str, tuple[Song, float]] = MappingProxyType({}),
    names: tuple[str, ...] = ("vox", "bass"),
    **options: Any,
) -> Session:
    """The session of rendered stems, 8 kHz; some carry a time of day in samples, some have a song."""
    stems = [make_stem(f"{name}.wav") for name in names]
    plan = planner.plan_stems(stems, library=shelf, choices=Choices(preset="tape"), out=tmp_path / "out")
    (tmp_path / "out").mkdir(parents=True)
    jobs = []
    for job in plan.jobs:
        job.output.write_bytes(job.stem.read_bytes())
        song, start_s = songs.get(job.title, (None, 0.0))
        jobs.append(replace(job, song=song, song_start_s=start_s))
    return session.compose("S", jobs, reference_of=lambda path: references.get(path.stem), **options)


def test_stems_without_a_time_start_the_session(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """With nothing known every clip is at sample 0, as long as its file, and the session starts at midnight."""
    what = _session(make_stem, shelf, tmp_path, {})
    assert [(clip.start_samples, clip.length_samples) for clip in what.clips] == [(0, 1600), (0, 1600)]
    assert (what.origin_s, what.rate, what.tempo) == (0, 8000, None)


def test_stems_keep_their_time_of_day(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """The session starts at the whole hour before the first stem, and each clip at its own sample after it."""
    what = _session(make_stem, shelf, tmp_path, {"vox": 3_600 * 8_000 + 17, "bass": 3 * 3_600 * 8_000})
    assert what.origin_s == 3_600
    assert [clip.start_samples for clip in what.clips] == [17, 2 * 3_600 * 8_000]


def test_times_that_no_day_has_are_none(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """A time beyond the day, as only a broken header has, counts as none."""
    what = _session(make_stem, shelf, tmp_path, {"vox": 2**63, "bass": 24_000})
    assert [clip.start_samples for clip in what.clips] == [0, 24_000]


def test_originals_are_muted_beside_their_renders(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Each stem is a muted track below its render, at the same sample."""
    what = _session(make_stem, shelf, tmp_path, {"vox": 5}, originals=True)
    assert [(t.name, t.muted, t.clips[0].start_samples) for t in what.tracks] == [
        ("vox", False, 5),
        ("vox (original)", True, 5),
        ("bass", False, 0),
        ("bass (original)", True, 0),
    ]


def test_a_clock_is_no_tempo(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Of a MIDI file in SMPTE time only the markers are of use; broken characters in them are shown as such."""
    song = Song(Path("x.mid"), TempoMap(40, timecode=True), (Marker(1.0, "a\x00b\ud800"),))
    what = _session(make_stem, shelf, tmp_path, {}, {"vox": (song, 0.0)})
    assert what.tempo is None
    assert what.markers == (Marker(1.0, "a�b�"),)
    musical = {"vox": (replace(song, tempo=TEMPO), 0.0)}
    assert _session(make_stem, shelf, tmp_path / "again", {}, musical).tempo == TEMPO


def test_a_song_that_starts_elsewhere(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """A song that begins with a stem 3 s into the session puts its markers there; one for the whole session fits it."""
    song, times = Song(Path("x.mid"), TEMPO, (Marker(1.0, "Verse"),)), {"vox": 3 * 8_000}
    what = _session(make_stem, shelf, tmp_path, times, {"vox": (song, 0.0)})
    assert (what.tempo, what.markers) == (None, (Marker(4.0, "Verse"),))
    what = _session(make_stem, shelf, tmp_path / "again", times, {"vox": (song, 3.0)})
    assert (what.tempo, what.markers) == (TEMPO, (Marker(1.0, "Verse"),))


def test_the_song_of_most_stems_wins(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Stems with a song of their own beside them do not outvote the one that most share."""
    song, other = Song(Path("x.mid"), TEMPO), Song(Path("y.mid"), TempoMap(96))
    songs = {"vox": (other, 0.0), "bass": (song, 0.0), "drums": (song, 0.0)}
    assert _session(make_stem, shelf, tmp_path, {}, songs, names=("vox", "bass", "drums")).tempo == TEMPO
    assert _session(make_stem, shelf, tmp_path / "again", {}, songs, names=("vox", "bass")).tempo == TempoMap(96)
