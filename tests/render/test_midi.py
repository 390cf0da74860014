"""A MIDI file is read as mido reads it, or better, or refused in words; whatever its bytes are, that takes no time."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from render import midi
from render.errors import MidiError
from render.tempo import Marker, Tempo

ANYHOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Write = Callable[..., Path]

MESSAGES = st.one_of(
    st.builds(
        mido.Message,
        st.sampled_from(["note_on", "note_off"]),
        channel=st.integers(0, 15),
        note=st.integers(0, 127),
        velocity=st.integers(0, 127),
        time=st.integers(0, 5000),
    ),
    st.builds(
        mido.Message,
        st.just("control_change"),
        control=st.integers(0, 127),
        value=st.integers(0, 127),
        time=st.integers(0, 300),
    ),
    st.builds(mido.Message, st.just("program_change"), program=st.integers(0, 127)),
    st.builds(mido.Message, st.just("pitchwheel"), pitch=st.integers(-8192, 8191)),
    st.builds(mido.Message, st.just("sysex"), data=st.lists(st.integers(0, 127), max_size=4)),
    st.builds(mido.MetaMessage, st.just("set_tempo"), tempo=st.integers(1, 0xFFFFFF), time=st.integers(0, 5000)),
    st.builds(mido.MetaMessage, st.just("marker"), text=st.sampled_from(["verse", "chorus"]), time=st.integers(0, 9)),
)
SONGS = st.builds(
    lambda tracks, per_quarter: mido.MidiFile(
        type=1, ticks_per_beat=per_quarter, tracks=[mido.MidiTrack(track) for track in tracks]
    ),
    st.lists(st.lists(MESSAGES, max_size=20), min_size=1, max_size=3),
    st.integers(1, 32767),
)


def chunk(body: bytes, name: bytes = b"MTrk", size: int | None = None) -> bytes:
    """A chunk, which may lie about its size."""
    return name + struct.pack(">I", len(body) if size is None else size) + body


def header(kind: int = 1, tracks: int = 1, division: int = 480) -> bytes:
    """The head of a file."""
    return chunk(struct.pack(">HHh", kind, tracks, division), b"MThd")


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
END = b"\x00\xff\x2f\x00"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A writer of files: of bytes, or of a mido file."""

    def written(content: bytes | mido.MidiFile, name: str = "song.mid") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path)
        return path

    return written


def _bytes(song: mido.MidiFile) -> bytes:
    file = io.BytesIO()
    song.save(file=file)
    return file.getvalue()


def _refusal(path: Path, *, otherwise: str) -> str:
    """What the reader says against the file at ``path``."""
    try:
        assert midi.read(path).tracks
    except MidiError as error:
        return str(error)
    return otherwise


@ANYHOW
@given(SONGS)
def test_agrees_with_mido(write: Write, song: mido.MidiFile) -> None:
    """Every channel message of every track, its tick, and the seconds of the whole are those of mido's reader."""
    path = write(song)
    theirs, score = mido.MidiFile(path), midi.read(path)
    assert len(score.tracks) == len(theirs.tracks)
    for mine, their in zip(score.tracks, theirs.tracks, strict=True):
        now, expected = 0, []
        for message in their:
            now += message.time
            if not message.is_meta and message.type != "sysex":
                expected.append((now, message.bytes()))
        assert [(event.tick, event.message.bytes()) for event in mine.events] == expected
        assert mine.end_tick == now
    end = max(track.end_tick for track in score.tracks)
    assert score.song.tempo.seconds(end) == pytest.approx(theirs.length, abs=1e-9, rel=1e-12)
    seconds, markers = 0.0, []
    for message in theirs:
        seconds += message.time
        if message.type == "marker":
            markers.append((seconds, message.text))
    mine_too = [(marker.seconds, marker.text) for marker in score.song.markers]
    assert sorted(text for _, text in mine_too) == sorted(text for _, text in markers)
    assert [at for at, _ in mine_too] == pytest.approx([at for at, _ in markers], abs=1e-9, rel=1e-12)


@ANYHOW
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(write: Write, junk: bytes, headed: bool) -> None:
    """Bytes of no meaning, alone or as the one track of a file, are a score or a `MidiError` that names the file."""
    path = write(header() + chunk(junk) if headed else junk)
    assert str(path) in _refusal(path, otherwise=str(path))


@ANYHOW
@given(SONGS, st.data())
def test_no_truncated_file_is_taken_for_whole(write: Write, song: mido.MidiFile, data: st.DataObject) -> None:
    """A file cut anywhere is refused: no part of a song is rendered as if it were all."""
    whole = _bytes(song)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MidiError):
        midi.read(write(whole[:cut]))


@ANYHOW
@given(SONGS, st.data())
def test_a_changed_byte_is_read_or_refused(write: Write, song: mido.MidiFile, data: st.DataObject) -> None:
    """One byte changed anywhere leaves a score or a `MidiError`, nothing else."""
    whole = bytearray(_bytes(song))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    said = _refusal(write(bytes(whole)), otherwise="as expected")
    assert "expected" in said or "export" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"RIFF\x04\x00\x00\x00WAVE", "begins with b'RIFF'"),
        (b"MThd", "begins with b'MThd' and has 4 bytes"),
        (header(kind=3) + chunk(END), "type 3"),
        (header(tracks=0), "0 tracks"),
        (header(tracks=2) + chunk(NOTE), "holds 1 of the 2 tracks"),
        (header() + chunk(NOTE, size=100), "ends after 8 of its 100 bytes"),
        (header() + chunk(NOTE[:-1]), "in the middle of an event"),
        (header() + chunk(b"\x00"), "in the middle of an event"),
        (header() + chunk(b"\x80" * 5000), "more than four bytes"),
        (header() + chunk(b"\x00\xff\x01" + b"\xff" * 5000), "more than four bytes"),
        (header() + chunk(b"\x00\x3c\x40"), "without a status"),
        (header() + chunk(b"\x00\x90\x3c\xff"), "0xff as data"),
        (header() + chunk(b"\x00\xf8"), "status 0xf8"),
        (header(division=0) + chunk(END), "0 ticks a quarter"),
        (header(division=-(10 << 8) + 4) + chunk(END), "10 frames a second"),
        (header(division=-(25 << 8)) + chunk(END), "0 ticks a quarter"),
        (header() + chunk(b"\x00\xff\x51\x03\x00\x00\x00"), "tempo of 0"),
        (header() + chunk(b"\x00\xff\x58\x04\x00\x02\x18\x08"), "metre of 0/4"),
        (header() + chunk(b"\x00\xff\x58\x04\x04\xff\x18\x08"), "expected one like 4/4"),
    ],
)
def test_damage_is_named(write: Write, content: bytes, said: str) -> None:
    """Each kind of damage says what was found and what was expected."""
    with pytest.raises(MidiError, match=said) as caught:
        midi.read(write(content))
    assert "song.mid" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_events_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that are left out count too: a file cannot keep the reader busy."""
    monkeypatch.setattr(midi, "MAX_EVENTS", 10)
    with pytest.raises(MidiError, match="past 10 events"):
        midi.read(write(header(tracks=2) + chunk(b"\x00\xff\x01\x00" * 6) + chunk(b"\x00\xff\x01\x00" * 6)))


def test_no_file_is_an_error(tmp_path: Path) -> None:
    """A folder, a name that is not there and one that no file can have are told apart from a file."""
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no.mid", "does not exist")):
        with pytest.raises(MidiError, match=said):
            midi.read(path)
    with pytest.raises(MidiError):
        midi.read(tmp_path / ("x" * 5000))
    with pytest.raises(MidiError):
        midi.read(Path("a\0b.mid"))


def test_what_mido_refuses_is_read(write: Write) -> None:
    """An odd key signature, chunks of other kinds, a RIFF wrapper, bytes after the end: the notes are there."""
    odd = b"\x00\xff\x59\x02\x63\x05"
    plain = header() + chunk(b"\x01\x02\x03", b"XFIH") + chunk(odd + NOTE + END + b"\x99\x99") + b"rest"
    wrapped = b"RIFF" + struct.pack("<I", len(plain) + 12) + b"RMIDdata" + struct.pack("<I", len(plain)) + plain
    for content in (plain, wrapped):
        (track,) = midi.read(write(content)).tracks
        assert [(event.tick, event.message.type) for event in track.events] == [(0, "note_on"), (96, "note_off")]


def test_running_status_outlives_metas(write: Write) -> None:
    """Data after a meta event belongs to the last channel status, as every reader has it."""
    (track,) = midi.read(write(header() + chunk(b"\x00\x90\x3c\x40\x10\xff\x01\x01x\x10\x3c\x00" + END))).tracks
    assert [(e.tick, e.message.note, e.message.velocity) for e in track.events] == [(0, 60, 64), (32, 60, 0)]
    assert track.notes == 1


@pytest.mark.parametrize(
    ("frames", "per_frame", "seconds"), [(25, 40, 1.0), (24, 80, 1.0), (30, 4, 1.0), (29, 100, 1.001)]
)
def test_smpte_time(write: Write, frames: int, per_frame: int, seconds: float) -> None:
    """Ticks of frames are seconds whatever the tempo says; 29 is NTSC's 30 000 / 1001."""
    second = (30 if frames == 29 else frames) * per_frame
    body = b"\x00\xff\x51\x03\x01\x00\x00" + bytes([0x80 | second >> 7, second & 0x7F]) + NOTE[1:] + END
    score = midi.read(write(header(division=-(frames << 8) + per_frame) + chunk(body)))
    assert score.song.tempo.seconds(score.tracks[0].events[0].tick) == seconds
    assert score.song.tempo.timecode


def test_names_are_read_as_they_were_meant(write: Write) -> None:
    """UTF-8 where it is, Latin-1 where not, and nothing that would break a line."""
    body = b"\x00\xff\x03\x05Fl\xc3\xb6t" + b"\x00\xff\x06\x05Br\xfc\n\x1b" + END
    (track,) = midi.read(write(header() + chunk(body))).tracks
    assert track.name == "Flöt"
    assert track.markers == (Marker(0.0, "Brü"),)


def test_independent_sequences_keep_their_own_time(write: Write) -> None:
    """The tracks of a type 2 file have a tempo each, and none that they share."""
    score = midi.read(write(header(2, 2) + chunk(b"\x00\xff\x51\x03\x03\xd0\x90" + END) + chunk(NOTE + END)))
    assert [track.tempo.tempos for track in score.tracks] == [(Tempo(0, 250_000),), (Tempo(0, 500_000),)]
    with pytest.raises(MidiError, match="2 independent sequences"):
        _ = score.song
