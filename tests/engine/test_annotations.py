"""What a file says beside its sound survives the way into another, and no byte of the sound changes for it."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import wavinfo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import audio, bext, container, encoding, ixml
from engine.annotations import lost, packed
from engine.audio import Annotations, Broadcast, Cue, Format, read, read_annotations, write
from engine.cues import parse_riff
from engine.errors import AudioError

RATE = 48_000
FRAMES = 1_001
NOON = 12 * 3600 * RATE + 17
DOCUMENT = ixml.new(ixml.Facts(RATE, NOON, 24), {"PROJECT": "Night & Bus", "NOTE": "dry"})
FULL = Annotations(
    RATE,
    Broadcast("Vox, take 3", "Recorder", "REF0001", "2024-05-06", "12:00:00", NOON, ("A=PCM,F=48000,W=24,M=mono,T=x",)),
    DOCUMENT,
    (Cue(100, "Verse", "a note"), Cue(500, "Chorus", length=200), Cue(FRAMES, "Ende")),
    {"INAM": "Vox", "IART": "Jürgen", "ISFT": "Recorder 1"},
)
CHUNKED = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_24"),
    ("RF64", "FLOAT"),
]
APPLE = [("AIFF", "PCM_S8"), ("AIFF", "PCM_24"), ("AIFF", "FLOAT")]
once_per_file = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def noise(channels: int = 1, samples: int = FRAMES) -> torch.Tensor:
    """White noise, the same every time."""
    return torch.rand(channels, samples, generator=torch.Generator().manual_seed(1)) - 0.5


def sound_of(path: Path) -> bytes:
    """The payload of the chunk that holds the sound."""
    with path.open("rb") as stream:
        for name, start, size in container.chunks(stream):
            if name in (b"data", b"SSND"):
                stream.seek(start)
                return stream.read(min(size, 10**6))  # an RF64 has its size elsewhere
    raise AssertionError(f"{path} has no sound")


@pytest.mark.parametrize(
    ("kind", "subtype", "endian"),
    [(*pair, "FILE") for pair in CHUNKED] + [(*pair, "BIG") for pair in CHUNKED if pair[0] == "WAV"],
)
def test_a_wav_says_all_and_its_sound_is_the_plain_files(tmp_path: Path, kind: str, subtype: str, endian: str) -> None:
    """Every kind of WAV, RIFX too: what was written is read, the sound's bytes and the probed shape are the same."""
    plain, said = tmp_path / "plain.wav", tmp_path / "said.wav"
    form = Format(kind, subtype, endian)
    write(plain, noise(), RATE, form)
    write(said, noise(), RATE, form, annotations=FULL)
    assert sound_of(plain) == sound_of(said)
    assert replace(audio.probe(said), path=plain) == audio.probe(plain)
    found = read_annotations(said)
    expected = replace(FULL, ixml="", cues=() if endian == "BIG" else FULL.cues)
    assert replace(found, ixml="") == expected
    assert lost(FULL, form) == (["3 markers"] if endian == "BIG" else [])
    depth = {"PCM_U8": 8, "PCM_16": 16, "ULAW": 8, "FLOAT": 32}.get(subtype, 24)
    assert found.ixml.strip() == DOCUMENT.replace(">24<", f">{depth}<")


@pytest.mark.parametrize(("kind", "subtype"), APPLE)
def test_an_aiff_keeps_markers_and_texts(tmp_path: Path, kind: str, subtype: str) -> None:
    """Markers and the texts an AIFF has places for; its sound is the plain file's, also where a pad byte follows."""
    plain, said = tmp_path / "plain.aif", tmp_path / "said.aif"
    write(plain, noise(), RATE, Format(kind, subtype))
    write(said, noise(), RATE, Format(kind, subtype), annotations=FULL)
    assert sound_of(plain) == sound_of(said)
    assert torch.equal(read(plain).samples, read(said).samples)
    found = read_annotations(said)
    assert [(cue.position, cue.label) for cue in found.cues] == [(100, "Verse"), (500, "Chorus"), (FRAMES, "Ende")]
    assert found.tags == {"INAM": "Vox", "IART": "Jürgen"}
    assert lost(FULL, Format(kind, subtype)) == ["the start time (43200.000 s)", "the iXML document"]


@pytest.mark.parametrize("kind", ["FLAC", "CAF"])
def test_flac_and_caf_keep_the_texts_and_the_rest_is_told(tmp_path: Path, kind: str) -> None:
    """Titles and names go along; that there is no place for the start time and the markers is said."""
    said = tmp_path / "said"
    write(said, noise(), RATE, Format(kind, "PCM_24"), annotations=FULL)
    found = read_annotations(said)
    assert (found.tags["INAM"], found.tags["IART"]) == ("Vox", "Jürgen")
    assert found.tags["ISFT"].startswith("Recorder 1")
    assert lost(FULL, Format(kind, "PCM_24")) == ["the start time (43200.000 s)", "3 markers", "the iXML document"]
    assert lost(FULL, Format("W64", "PCM_24"))[-1] == "the tags"
    assert lost(FULL, Format("WAV", "PCM_24")) == []


def test_a_thousand_markers_are_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    """As many as every decoder reads, beside the longest history and the largest document there can be."""
    many = Annotations(
        RATE,
        Broadcast(history=("x" * 200,) * 500),
        DOCUMENT.replace("dry", "x" * 1_000_000),
        tuple(Cue(n % FRAMES, f"take {n} " + "y" * 100, "z" * 100) for n in range(3000)),
        {f"I{n:03}": "z" * 400 for n in range(60)},
    )
    for kind in ("WAV", "RF64", "AIFF"):
        write(tmp_path / "x", noise(), RATE, Format(kind, "PCM_16"), annotations=many)
        found = read_annotations(tmp_path / "x").cues
        assert [cue.position for cue in found] == [cue.position for cue in many.cues[:1000]]
        assert lost(many, Format(kind, "PCM_16"))[0] == "2000 of 3000 markers"


def test_the_same_annotations_make_the_same_bytes(tmp_path: Path) -> None:
    """No clock, no random number: twice written is once written."""
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, noise(), RATE, Format("WAV", "FLOAT"), annotations=FULL)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(("kind", "subtype"), CHUNKED)
def test_a_reader_that_is_not_ours_reads_it(tmp_path: Path, kind: str, subtype: str) -> None:
    """wavinfo finds the broadcast chunk, the cues with their labels, the texts and the document."""
    path = tmp_path / "said.wav"
    write(path, noise(2), RATE, Format(kind, subtype), annotations=FULL)
    found = wavinfo.WavInfoReader(str(path), info_encoding="utf-8")
    assert found.data.frame_count == FRAMES
    assert found.bext.description == "Vox, take 3"
    assert (found.bext.originator, found.bext.originator_ref) == ("Recorder", "REF0001")
    assert (found.bext.originator_date, found.bext.originator_time) == ("2024-05-06", "12:00:00")
    assert found.bext.time_reference == NOON
    assert found.bext.coding_history == "A=PCM,F=48000,W=24,M=mono,T=x\r\n"
    assert found.info.title == "Vox"
    assert found.info.artist == "Jürgen"
    assert {cue.name: cue.position for cue in found.cues.cues} == {1: 100, 2: 500, 3: FRAMES}
    assert [found.cues.label_and_note(name) for name in (1, 2)] == [("Verse", "a note"), ("Chorus", None)]
    assert found.ixml.project == "Night & Bus"


@pytest.mark.parametrize(("kind", "subtype"), [*CHUNKED, *APPLE])
def test_libsndfiles_own_tool_finds_nothing_wrong(tmp_path: Path, kind: str, subtype: str) -> None:
    """``sndfile-info`` walks every chunk to the end and meets none it has to search its way past."""
    tool = shutil.which("sndfile-info")
    if tool is None:
        pytest.skip("sndfile-info is not installed (Debian: sndfile-programs)")
    path = tmp_path / "said"
    write(path, noise(2), RATE, Format(kind, subtype), annotations=FULL)
    told = subprocess.run([tool, path], capture_output=True, text=True, check=True).stdout
    assert f"Frames      : {FRAMES}" in told
    assert not any(word in told for word in ("Resync", "Error", "should be", "Exiting", "Bad"))
    if kind != "AIFF":
        told = subprocess.run([tool, "--broadcast", path], capture_output=True, text=True, check=True).stdout
        assert f"{NOON:#x}"[2:] in told.replace("0x0", "")
        assert "A=PCM,F=48000,W=24,M=mono,T=x" in told


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_24"), ("WAVEX", "FLOAT"), ("RF64", "PCM_16")])
def test_mediainfo_finds_it_too(tmp_path: Path, kind: str, subtype: str) -> None:
    """mediainfo reads where it starts, who made it and when, and how it was coded."""
    tool = shutil.which("mediainfo")
    if tool is None:
        pytest.skip("mediainfo is not installed (Debian: mediainfo)")
    path = tmp_path / "said.wav"
    write(path, noise(2), RATE, Format(kind, subtype), annotations=FULL)
    done = subprocess.run([tool, "--Output=JSON", "--Full", path], capture_output=True, text=True, check=True)
    general, sound = json.loads(done.stdout)["media"]["track"][:2]
    assert general["Description"] == "Vox, take 3"
    assert general["Producer"] == "Recorder"
    assert general["Encoded_Date"].startswith("2024-05-06 12:00:00")
    assert general["Encoded_Library_Settings"] == "A=PCM,F=48000,W=24,M=mono,T=x"
    assert float(sound["Delay"]) == pytest.approx(NOON / RATE, abs=1e-3)
    assert int(sound["SamplingCount"]) == FRAMES
    assert "truncated" not in done.stdout.lower()


def test_the_start_survives_another_rate(tmp_path: Path) -> None:
    """From 48 to 44.1 kHz and back: the start time stays, to half a sample, and so does every marker."""
    path = tmp_path / "said.wav"
    write(path, noise(), RATE, Format("WAV", "PCM_24"), annotations=FULL)
    moved = read_annotations(path).at_rate(44_100)
    sound = audio.resample(read(path).samples, RATE, 44_100)
    write(path, sound, 44_100, Format("WAV", "PCM_16"), annotations=moved)
    found = read_annotations(path)
    assert wavinfo.WavInfoReader(str(path)).bext.time_reference == found.start_samples == 12 * 3600 * 44_100 + 16
    assert abs(timedelta(seconds=found.start_s) - timedelta(seconds=NOON / RATE)) < timedelta(seconds=0.6 / 44_100)
    assert [cue.position for cue in found.cues] == [92, 459, 920]
    assert found.cues[1].length == round(700 * 44_100 / RATE) - 459
    assert ixml.start(found.ixml) == found.start_samples
    assert "<FILE_SAMPLE_RATE>44100<" in found.ixml
    assert "<AUDIO_BIT_DEPTH>16<" in found.ixml
    with pytest.raises(AudioError, match=r"count at 48000 Hz; expected 44100 Hz"):
        write(path, sound, 44_100, Format("WAV", "PCM_16"), annotations=FULL)


@given(samples=st.integers(0, bext.MAX_REFERENCE), old=st.integers(1000, 768_000), new=st.integers(1000, 768_000))
@settings(deadline=None)
def test_rescaling_is_exact_to_half_a_sample(samples: int, old: int, new: int) -> None:
    """In whole numbers, however far from midnight: at most half a sample off, and none at the same rate."""
    found = bext.rescaled(samples, old, new)
    assert abs(Fraction(found) - Fraction(samples * new, old)) <= Fraction(1, 2)
    assert bext.rescaled(samples, old, old) == samples


def test_history_grows_by_our_line_and_keeps_the_newest() -> None:
    """A line is appended to what was there; when the chunk would grow past its limit the oldest lines go."""
    line = bext.coding_line(44_100, 16, 6, "gramophone, ü\r\nX")
    assert line == "A=PCM,F=44100,W=16,T=gramophone; ???X"
    many = Broadcast(history=tuple(f"{n} " + "x" * 96 for n in range(1000))).coded(line)
    found = bext.parse(bext.pack(many))
    assert found is not None
    assert found.history[-1] == line
    assert 150 < len(found.history) < 170
    assert len(bext.pack(many)) <= bext.FIXED_BYTES + bext.MAX_HISTORY_BYTES


def test_texts_too_long_are_cut_between_characters() -> None:
    """256 bytes of description hold 128 letters of two bytes, and never half of one."""
    found = bext.parse(bext.pack(Broadcast("x" + "ü" * 200, "o" * 40)))
    assert found is not None
    assert found.description == "x" + "ü" * 127
    assert found.originator == "o" * 32


def test_stale_words_do_not_travel(tmp_path: Path) -> None:
    """Another sound's loudness, another material's UMID and a copy of the old history stay behind."""
    payload = bytearray(bext.pack(FULL.broadcast or Broadcast()))
    payload[346:348] = struct.pack("<H", 2)
    payload[348:412] = b"\x06" * 64
    payload[412:422] = struct.pack("<5h", *[-2300] * 5)
    found = bext.parse(bytes(payload))
    assert found == FULL.broadcast
    assert bext.pack(found or Broadcast())[346:422] == struct.pack("<H", 1) + bytes(74)
    stale = DOCUMENT.replace("<SPEED>", "<BEXT><BWF_CODING_HISTORY>x</BWF_CODING_HISTORY></BEXT><LOUDNESS/><SPEED>")
    assert ixml.agreeing(stale, ixml.Facts(RATE, NOON, 24), RATE) == DOCUMENT
    assert ixml.agreeing(DOCUMENT, ixml.Facts(RATE, NOON, 24), RATE) is DOCUMENT


def test_sync_points_follow_the_rate() -> None:
    """Places inside an iXML document count in the new rate after a change, low and high half."""
    far = 2**33 + 480
    point = f"<SYNC_POINT><SYNC_POINT_LOW>{far & 0xFFFFFFFF}</SYNC_POINT_LOW><SYNC_POINT_HIGH>2</SYNC_POINT_HIGH>"
    document = DOCUMENT.replace("<SPEED>", f"<SYNC_POINT_LIST>{point}</SYNC_POINT></SYNC_POINT_LIST><SPEED>")
    moved = ixml.agreeing(document, ixml.Facts(96_000, 0), RATE)
    assert f"<SYNC_POINT_LOW>{960}</SYNC_POINT_LOW><SYNC_POINT_HIGH>4</SYNC_POINT_HIGH>" in moved


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"<BWFXML>",
        b"<html/>",
        b'<!DOCTYPE BWFXML [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><BWFXML>&b;</BWFXML>',
        b"<BWFXML>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</BWFXML>",
        '<!DOCTYPE BWFXML [<!ENTITY a "b">]><BWFXML>&a;</BWFXML>'.encode("utf-16"),
        b"<BWFXML>\xff\xfe\x00\x01</BWFXML>",
    ],
)
def test_hostile_documents_are_left_out(hostile: bytes) -> None:
    """Entities that could grow, depth without end, other documents and broken ones are no iXML."""
    assert ixml.parse(hostile) is None


def test_a_document_in_another_encoding_is_read() -> None:
    """UTF-16 with its mark, UTF-8 with one, and Latin-1 are all in the field."""
    for encoding_name in ("utf-16", "utf-8-sig", "latin-1"):
        assert ixml.parse("<BWFXML><NOTE>ü</NOTE></BWFXML>".encode(encoding_name)) == "<BWFXML><NOTE>ü</NOTE></BWFXML>"


def wave(*chunks: tuple[bytes, bytes], claims: dict[bytes, int] | None = None) -> bytes:
    """A 16-bit WAV of 10 frames with ``chunks`` before its sound; ``claims`` are sizes some of them lie about."""
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    for name, payload in (*chunks, (b"data", bytes(20))):
        body += struct.pack("<4sI", name, (claims or {}).get(name, len(payload))) + payload + b"\0" * (len(payload) % 2)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def test_chunks_that_lie_are_left_out_and_told(tmp_path: Path) -> None:
    """Too short, too long, beyond any clock, beyond the sound: each is dropped with its reason, the rest is kept."""
    path = tmp_path / "hostile.wav"
    late = bytearray(bext.pack(Broadcast("kept")))
    late[338:346] = b"\xff" * 8
    cue = struct.pack("<I", 0xFFFFFFFF) + b"".join(
        struct.pack("<II4sIII", n, 0, b"data", 0, 0, at) for n, at in enumerate((3, 11, 0xFFFFFFFF))
    )
    path.write_bytes(wave((b"bext", bytes(late)), (b"cue ", cue), (b"iXML", b"<html/>")))
    found = read_annotations(path)
    assert found.broadcast == Broadcast("kept")
    assert [c.position for c in found.cues] == [3]
    assert found.dropped == (
        f"a start time that no clock shows ({2**64 - 1} samples)",
        "an iXML chunk that is no iXML",
        "2 markers beyond the end of the sound",
    )
    path.write_bytes(wave((b"bext", bytes(100)), (b"iXML", bytes(2**20 + 2))))
    assert read_annotations(path).dropped == (
        "a iXML chunk of 1048578 bytes, more than 1048576",
        "a bext chunk that is cut off",
    )
    path.write_bytes(wave() + struct.pack("<4sI", b"LIST", 1000) + b"INFOINAM")
    assert read_annotations(path).dropped == ("a LIST chunk that is cut off",)


def test_chunks_behind_the_sound_are_found(tmp_path: Path) -> None:
    """Editors append them; behind the sound of an RF64 as well, whose size stands elsewhere."""
    for form in (Format("WAV", "PCM_16"), Format("RF64", "PCM_16")):
        path = tmp_path / "x.wav"
        write(path, noise(), RATE, form)
        chunks = packed(FULL, form, FRAMES)
        with path.open("ab") as file:
            for name, payload in chunks:
                file.write(struct.pack("<4sI", name, len(payload)) + payload)
        assert replace(read_annotations(path), ixml="") == replace(FULL, ixml="")


def test_names_twice_and_lists_without_end_are_bounded() -> None:
    """The first cue of a name counts, texts for cues that are not there are ignored, half a cue is none."""
    two = b"".join(struct.pack("<II4sIII", 7, 0, b"data", 0, 0, at) for at in (1, 2))
    notes = struct.pack("<4sII", b"labl", 6, 9) + b"x\0" + struct.pack("<4sI", b"labl", 2) + b"ab"
    assert parse_riff(struct.pack("<I", 2) + two + b"half", [notes]) == (Cue(1),)


@given(data=st.data())
@once_per_file
def test_any_header_is_read_in_bounds(tmp_path: Path, data: st.DataObject) -> None:
    """Any byte of a header set to anything: an `AudioError`, or annotations that can be written again as they are."""
    path = tmp_path / "flipped.wav"
    kind = data.draw(st.sampled_from([("WAV", "PCM_16"), ("RF64", "PCM_16"), ("AIFF", "PCM_16")]))
    write(path, noise(1, 600), RATE, Format(*kind), annotations=FULL)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1201))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_annotations(path)
    except AudioError:
        return
    assert all(0 <= cue.position <= 600 and 0 <= cue.position + cue.length <= 600 for cue in found.cues)
    assert found.start_samples is None or found.start_samples <= bext.MAX_REFERENCE
    again = found.at_rate(44_100)
    write(path, noise(1, 600), 44_100, Format("WAV", "PCM_16"), annotations=again)
    assert read_annotations(path).start_samples == again.start_samples


@given(payload=st.binary(max_size=900))
@settings(deadline=None)
def test_any_chunk_is_parsed_or_refused(payload: bytes) -> None:
    """Random bytes as any of the chunks never raise."""
    bext.parse(payload)
    ixml.parse(payload)
    parse_riff(payload, [payload])


def test_a_file_over_four_gigabytes_is_a_valid_rf64(tmp_path: Path) -> None:
    """Sizes, start time and the last sample are right where 32 bits no longer count; the middle is a hole."""
    path, frames = tmp_path / "long.wav", 2**23 + 1000
    said = replace(FULL, cues=(Cue(frames - 1, "last"),))
    with audio.Writer(path, RATE, 64, frames, Format("WAV", "DOUBLE"), annotations=said) as writer:
        writer.write(torch.full((64, 2), 0.5))
        writer.written = writer._file.seek(frames - 2)
        writer.write(torch.tensor([[0.0, 0.25]] * 64))
    size = path.stat().st_size
    assert size > 2**32
    with path.open("rb") as stream:
        head = struct.unpack("<4sI4s4sIQQQ", stream.read(44))
    assert head == (b"RF64", 0xFFFFFFFF, b"WAVE", b"ds64", 28, size - 8, frames * 512, frames)
    info = audio.probe(path)
    assert (info.frames, info.format) == (frames, Format("RF64", "DOUBLE"))
    assert read_annotations(path).cues == said.cues
    found = wavinfo.WavInfoReader(str(path))
    assert found.bext.time_reference == NOON
    assert found.data.byte_count == frames * 512
    with audio.Stem(path) as stem:
        assert stem.read(0, 3).tolist() == [[0.5, 0.5, 0.0]] * 64
        assert stem.read(frames - 2, 2).tolist() == [[0.0, 0.25]] * 64
    if tool := shutil.which("mediainfo"):
        told = subprocess.run([tool, "--Output=Audio;%SamplingCount%", path], capture_output=True, text=True)
        assert int(told.stdout) == frames


def test_a_long_silent_float_file_is_finished(tmp_path: Path) -> None:
    """The header of an RF64 is set right without a search through its sound, which may look like anything."""
    path, frames = tmp_path / "long.wav", 2**24 + 1000
    with audio.Writer(path, RATE, 64, frames, Format("WAV", "FLOAT")) as writer:
        writer.written = writer._file.seek(frames - 2)
        writer.write(torch.zeros(64, 2))
    assert audio.probe(path).frames == frames


def test_chunks_count_towards_four_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound that just fits a WAV without what is said beside it becomes an RF64 with it."""
    path = tmp_path / "x.wav"
    monkeypatch.setattr(encoding, "WAV_BYTES", 2 * FRAMES)
    write(path, noise(), RATE, Format("WAV", "PCM_16"))
    assert audio.probe(path).format.container == "WAV"
    write(path, noise(), RATE, Format("WAV", "PCM_16"), annotations=FULL)
    assert audio.probe(path).format.container == "RF64"
    assert read_annotations(path).start_samples == NOON


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_told_as_ever() -> None:
    """The system's own word reaches the caller as the cause, through an encoder that knows only numbers."""
    with pytest.raises(AudioError, match=r"/dev/full: .*No space left on device"):
        write("/dev/full", noise(2), RATE, Format("WAV", "PCM_16"), annotations=FULL)


def test_a_disk_that_fills_up_later_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of the sound ends the write with the system's reason, and the file is closed."""

    def full(self: Any, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    writer = audio.Writer(tmp_path / "x.wav", RATE, 1, FRAMES, Format("WAV", "PCM_16"), annotations=FULL)
    monkeypatch.setattr("engine.insertion.Insertion._put", full)
    with pytest.raises(AudioError, match="No space left on device") as caught, writer:
        writer.write(noise())
    assert isinstance(caught.value.__context__, AudioError | OSError)
