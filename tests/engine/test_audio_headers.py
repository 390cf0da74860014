"""Files that are not what they say: one clear error or a correct read, never a crash, a hang or half a stem."""

import os
import re
import socket
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import audio, container, mpeg
from engine.audio import Format, probe, read, read_blocks, write
from engine.errors import AudioError

FRAMES = 4801
once_per_file = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def tone() -> torch.Tensor:
    """A loud mono tone of `FRAMES` samples without a zero among its bytes' runs."""
    return (torch.arange(FRAMES) * 0.05).sin()[None] * 0.4 + 0.1


def encoded(path: Path, container: str, subtype: str, rate: int = 44100) -> bytes:
    """The bytes of `tone` in a format."""
    soundfile.write(path, tone()[0].numpy(), rate, subtype, format=container)
    return path.read_bytes()


def wav(data: bytes, *, riff: int | None = None, size: int | None = None, fmt: bytes | None = None) -> bytes:
    """A 16-bit mono WAV around ``data`` with the sizes and format that are asked for, true ones by default."""
    fmt = struct.pack("<HHIIHH", 1, 1, 44100, 88200, 2, 16) if fmt is None else fmt
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


PCM = (tone()[0] * 2**15).to(torch.int16).numpy().tobytes()


def refused(path: Path) -> str:
    """What `probe` and `read` say about a file that both refuse, in one line that begins with its name."""
    with pytest.raises(AudioError) as probed:
        probe(path)
    with pytest.raises(AudioError) as was_read:
        read(path)
    message = str(probed.value)
    assert message == str(was_read.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a broken link and a path through a file are said to be so."""
    assert refused(tmp_path / "no.wav") == "is not there; check the name and the folder"
    (tmp_path / "link.wav").symlink_to(tmp_path / "no.wav")
    assert refused(tmp_path / "link.wav").startswith("is not there")
    (tmp_path / "file").write_bytes(b"x")
    assert "cannot be read (Not a directory)" in refused(tmp_path / "file" / "x.wav")
    assert "null byte" in refused(Path("a\0b.wav"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission is told apart from no file."""
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(PCM))

    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert refused(path) == "may not be read; check its permissions"


def test_what_is_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders, pipes, sockets and devices are refused at once: nothing waits for a pipe's writer."""
    (tmp_path / "folder.wav").mkdir()
    assert refused(tmp_path / "folder.wav") == "is a folder; expected a sound file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert "pipe, socket or device" in refused(tmp_path / "pipe.wav")
    assert "pipe, socket or device" in refused(Path("/dev/null"))
    with socket.socket(socket.AF_UNIX) as server:
        # By a short name: the path of a socket has about a hundred bytes.
        monkeypatch.chdir(tmp_path)
        server.bind("s.wav")
        assert "pipe, socket or device" in refused(tmp_path / "s.wav")


@pytest.mark.parametrize("suffix", ["wav", "mp3", "au", "vox", "gsm", "raw", "sd2", "aif", "flac"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>" * 50, "a web page (HTML)"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(range(256)) * 9, "an MP4 or M4A file"),
        (b"MThd" + bytes(range(256)) * 9, "a MIDI file"),
        (b"RIFF\x00\x10\x00\x00AVI LIST" + b"abc" * 99, "a RIFF file of kind 'AVI '"),
        (b"kick, snare, hat\n" * 99, "plain text"),
        (bytes(9000), "nothing but zero bytes"),
        (bytes(range(128, 256)) * 20, "something of no known kind"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n", "a Git LFS pointer"),
        (b"\xff\xfe" + "hello world ".encode("utf-16-le") * 50, "UTF-16 text"),
    ],
)
def test_what_is_no_sound_file_is_named(tmp_path: Path, suffix: str, content: bytes, told: str) -> None:
    """Whatever the name promises, the bytes say what it is; libsndfile would play some of these as noise."""
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    assert told in refused(path)


@pytest.mark.parametrize(("real", "name"), [("MP3", "x.wav"), ("FLAC", "x.wav"), ("WAV", "x.mp3"), ("OGG", "x.aif")])
def test_a_mislabelled_sound_is_read_as_what_it_is(tmp_path: Path, real: str, name: str) -> None:
    """An MP3 named .wav is an MP3: decoded as one, and said to be one."""
    path = tmp_path / name
    subtype = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}.get(real, "PCM_16")
    encoded(path, real, subtype)
    stem = read(path)
    assert stem.format == probe(path).format == Format(real, subtype)
    assert stem.samples.shape == (1, FRAMES)
    # Lossy codecs keep a loud tone to within a twentieth of full scale away from the ends.
    assert float((stem.samples - tone())[:, 1000:-1000].abs().max()) < 0.05


CUT = [
    ("WAV", "PCM_16"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_32"),
    ("RF64", "FLOAT"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_24"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize(("kind", "subtype"), CUT)
def test_a_cut_file_is_never_read_as_a_shorter_one(tmp_path: Path, kind: str, subtype: str) -> None:
    """Cut anywhere, from the first byte to the last but one, a file is an error that begins with its name."""
    path = tmp_path / "cut.wav"
    whole = encoded(path, kind, subtype, 48000)
    for size in {*range(1, 120), *range(120, len(whole), len(whole) // 40), len(whole) - 4, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(AudioError, match=re.escape(f"{path}: ")):
            read(path)


def test_an_ogg_cut_behind_its_first_pages_is_refused(tmp_path: Path) -> None:
    """Decoders take an Ogg's last whole page for its end: the piece of a page behind it gives the cut away."""
    path = tmp_path / "long.ogg"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 200_000), 44100, "VORBIS", format="OGG")
    whole = path.read_bytes()
    assert whole.count(b"OggS") > 4
    path.write_bytes(whole[: len(whole) // 2])
    assert soundfile.info(path).frames > 0
    assert refused(path) == "is cut off: its last Ogg page is incomplete; export or copy it again"


def test_a_cut_file_says_how_much_is_missing(tmp_path: Path) -> None:
    """The promise and what is there are both in the message, and the remedy."""
    path = tmp_path / "cut.wav"
    path.write_bytes(wav(PCM)[:5000])
    assert refused(path) == (
        "is cut off or still being written: its header promises 9602 bytes of audio and 4956 are there; "
        "export or copy it again"
    )


@pytest.mark.parametrize("size", [2 * len(PCM), 2**31 - 2, 2**32 - 2**20])
def test_a_header_that_claims_too_much_allocates_nothing(tmp_path: Path, size: int) -> None:
    """Billions of frames that are not there are refused from the header alone, in less than 1 MB."""
    path = tmp_path / "lie.wav"
    path.write_bytes(wav(PCM, riff=size, size=size))
    tracemalloc.start()
    try:
        assert f"promises {size} bytes" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("riff", [None, len(PCM) // 2 + 36])
def test_a_header_that_claims_too_little_is_refused(tmp_path: Path, riff: int | None) -> None:
    """Half of the sound left out of the header is not half a stem, whether RIFF's own size agrees or not."""
    path = tmp_path / "lie.wav"
    path.write_bytes(wav(PCM, riff=riff, size=len(PCM) // 2))
    assert "lies about its size: 4801 bytes of audio, and 4800 more" in refused(path)


@pytest.mark.parametrize("frames", [2**36 - 1, 2 * FRAMES])
def test_a_flac_that_claims_too_much_is_refused(tmp_path: Path, frames: int) -> None:
    """A FLAC's length is believed once its last frame was decoded."""
    path = tmp_path / "lie.flac"
    data = bytearray(encoded(path, "FLAC", "PCM_16"))
    word = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
    data[18:26] = word.to_bytes(8, "big")
    path.write_bytes(data)
    assert f"the {frames} frames it promises are not there" in refused(path)


def test_a_flac_without_a_length_is_refused(tmp_path: Path) -> None:
    """A FLAC from a pipe does not say how long it is, and is asked to."""
    path = tmp_path / "stream.flac"
    data = bytearray(encoded(path, "FLAC", "PCM_16"))
    word = int.from_bytes(data[18:26], "big") >> 36 << 36
    data[18:26] = word.to_bytes(8, "big")
    path.write_bytes(data)
    assert "does not say how long it is" in refused(path)


@pytest.mark.parametrize(("riff", "size"), [(2**32 - 1, 2**32 - 1), (0x7FFFF024, 0x7FFFF000), (36, 2**32 - 2)])
def test_a_streamed_wav_reaches_to_its_end(tmp_path: Path, riff: int, size: int) -> None:
    """The sizes that ffmpeg and SoX leave when they write to a pipe mean: to the end of the file."""
    path = tmp_path / "streamed.wav"
    path.write_bytes(wav(PCM, riff=riff, size=size))
    assert read(path).samples.shape == (1, FRAMES)


@pytest.mark.parametrize("riff", [0, 36, None])
def test_a_recording_that_was_not_closed_is_refused(tmp_path: Path, riff: int | None) -> None:
    """A data size of 0 with sound behind it is a file still being recorded: refused with that reason."""
    path = tmp_path / "open.wav"
    path.write_bytes(wav(PCM, riff=riff, size=0))
    assert refused(path).startswith("was never finished: its header says 0 bytes of audio and 9602 bytes follow")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    """A header with nothing behind it is no stem."""
    path = tmp_path / "none.wav"
    path.write_bytes(wav(b""))
    assert refused(path) == "holds no audio (0 frames); export it again"
    soundfile.write(path, np.zeros((0, 2)), 44100, "PCM_16", format="AIFF")
    assert refused(path) == "holds no audio (0 frames); export it again"


@pytest.mark.parametrize(
    ("fmt", "told"),
    [
        (struct.pack("<HHIIHH", 1, 1000, 44100, 88200, 2000, 16), "1000 channels at 44100 Hz; expected 1 to 64"),
        (struct.pack("<HHIIHH", 1, 65535, 44100, 88200, 2, 16), "cannot be opened (Too many channels"),
        (struct.pack("<HHIIHH", 1, 0, 44100, 88200, 2, 16), "cannot be opened (Channel count is zero"),
        (struct.pack("<HHIIHH", 1, 1, 0, 88200, 2, 16), "cannot be opened"),
        (struct.pack("<HHIIHH", 1, 1, 7, 14, 2, 16), "1 channels at 7 Hz; expected"),
        (struct.pack("<HHIIHH", 1, 1, 2**31 - 1, 14, 2, 16), "channels at 2147483647 Hz; expected"),
        (struct.pack("<HHIIHH", 1, 1, 44100, 88200, 4, 24), "4 bytes per frame for 1 channels of PCM_24"),
        (struct.pack("<HHIIHH", 0x55, 1, 44100, 88200, 2, 16), "cannot be opened"),
    ],
)
def test_absurd_headers_are_refused(tmp_path: Path, fmt: bytes, told: str) -> None:
    """Rates, channels and frame sizes that nobody means, and codecs nobody can decode, are named."""
    path = tmp_path / "absurd.wav"
    path.write_bytes(wav(PCM, fmt=fmt))
    assert told in refused(path)


def test_a_header_of_endless_chunks_is_refused(tmp_path: Path) -> None:
    """A hundred thousand empty chunks are not walked through one by one."""
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000)
    assert f"more than {container.MAX_CHUNKS} chunks" in refused(path)


@pytest.mark.parametrize(
    "extra", [b"LIST\x04\0\0\0abcd", b"id3 \x03\0\0\0abc\0", b"TAG" + b"x" * 125, bytes(6000), b"ID3" + b"\4" * 6000]
)
def test_what_taggers_append_is_not_mistaken_for_sound(tmp_path: Path, extra: bytes) -> None:
    """Chunks, tags and padding behind the sound leave its length alone."""
    path = tmp_path / "tagged.wav"
    path.write_bytes(wav(PCM) + extra)
    assert probe(path).frames == FRAMES


def test_chunks_before_the_sound_are_passed_over(tmp_path: Path) -> None:
    """Odd chunks with and without their pad byte do not hide the sound."""
    path = tmp_path / "bext.wav"
    for junk in (b"junk\x03\0\0\0abc\0", b"junk\x03\0\0\0abc"):
        whole = wav(PCM)
        path.write_bytes(whole[:12] + junk + whole[12:])
        with path.open("rb") as stream:
            assert container.inspect(stream).data_bytes == len(PCM)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "FLOAT"), ("AIFF", "DOUBLE"), ("CAF", "FLOAT")])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_samples_that_are_no_numbers_are_located(
    tmp_path: Path, kind: str, subtype: str, value: float, word: str
) -> None:
    """The first NaN or infinity is named by time, sample and channel, also behind the first block."""
    x = np.zeros((80_000, 2))
    x[70_000:, 1] = value
    path = tmp_path / "nan.wav"
    soundfile.write(path, x, 8000, subtype, format=kind)
    told = rf"{re.escape(str(path))}: has a sample that is {word} at 8\.750 s \(sample 70000\) in channel 2; "
    with pytest.raises(AudioError, match=told):
        read(path)
    with pytest.raises(AudioError, match=told):
        list(read_blocks(path, 1000))


def test_damage_inside_a_flac_says_where(tmp_path: Path) -> None:
    """Bytes overwritten in the middle stop the decoder, and the error says how far it came."""
    path = tmp_path / "damaged.flac"
    write(path, torch.rand(1, 200_000) - 0.5, 44100, Format("FLAC", "PCM_16"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(range(250)) * 12
    path.write_bytes(data)
    assert probe(path).frames == 200_000
    with pytest.raises(AudioError, match=r"cannot be decoded beyond 1\.486 s"):
        read(path)


def test_a_stem_too_long_for_memory_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`read` has an upper limit; `probe` and `read_blocks` do not."""
    monkeypatch.setattr(audio, "MAX_SAMPLES", 4000)
    path = tmp_path / "long.wav"
    path.write_bytes(wav(PCM))
    with pytest.raises(AudioError, match="too long to hold in memory"):
        read(path)
    assert sum(block.shape[1] for block in read_blocks(path, 1000)) == probe(path).frames == FRAMES


def test_an_aiff_counts_frames_not_pad_bytes(tmp_path: Path) -> None:
    """An 8-bit AIFF of odd length with its pad counted as sound, as libsndfile writes it, is as long as COMM says."""
    path = tmp_path / "odd.aif"
    data = bytearray(encoded(path, "AIFF", "PCM_S8"))
    comm = data.index(b"COMM") + 10
    assert struct.unpack(">I", data[comm : comm + 4]) == (FRAMES + 1,)
    data[comm : comm + 4] = struct.pack(">I", FRAMES)
    path.write_bytes(data)
    assert read(path).samples.shape == (1, FRAMES)
    for frames, told in ((FRAMES - 1, "lies about its size"), (FRAMES + 2, "lies about"), (0, "was never finished")):
        data[comm : comm + 4] = struct.pack(">I", frames)
        path.write_bytes(data)
        assert told in refused(path)


def headless_mp3(path: Path, mode: str, peaks: tuple[float, float]) -> bytes:
    """An MP3 of two halves of noise, 60 000 samples each, without the first frame: the one that tells the length."""
    halves = [np.random.default_rng(0).uniform(-peak, peak, 60_000) for peak in peaks]
    soundfile.write(path, np.concatenate(halves), 44100, format="MP3", bitrate_mode=mode, compression_level=0.5)
    data = path.read_bytes()
    first = mpeg.parse(data)
    assert first is not None
    return data[first.size :]


def test_an_mp3_without_a_length_header_is_counted(tmp_path: Path) -> None:
    """A constant-rate MP3 cut from a stream, tagged or not, has the samples of its whole frames and not one more."""
    path = tmp_path / "x.mp3"
    data = headless_mp3(path, "CONSTANT", (0.5, 0.5))
    # 120 000 samples and the encoder's delay of 1105 fill 106 frames of 1152.
    for content, frames in (
        (data, 106),
        (data + b"TAG" + bytes(125), 106),
        (data + b"APETAGEX" + bytes(3000), 106),
        (b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + data[:-50], 105),
    ):
        path.write_bytes(content)
        assert probe(path).frames == frames * 1152
        assert read(path).samples.shape == (1, frames * 1152)


def test_a_cut_mp3_with_a_length_header_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """The bytes that a Xing header promises are looked for by `probe` already."""
    path = tmp_path / "x.mp3"
    whole = encoded(path, "MP3", "MPEG_LAYER_III")
    path.write_bytes(whole[: len(whole) // 2])
    assert f"its MP3 header promises {len(whole)} bytes of audio and {len(whole) // 2} are there" in refused(path)


def test_a_variable_mp3_without_a_length_header_never_loses_its_end(tmp_path: Path) -> None:
    """Where the decoder's guess reaches the last frame all is read; where it falls short the file is refused."""
    path = tmp_path / "x.mp3"
    path.write_bytes(headless_mp3(path, "VARIABLE", (0.0, 0.9)))
    assert read(path).samples.shape == (1, 106 * 1152)
    path.write_bytes(headless_mp3(path, "VARIABLE", (0.9, 0.0)))
    assert soundfile.info(path).frames < 100_000
    assert refused(path) == (
        "is an MP3 that does not say how long it is, and decoding would lose its end; convert it to WAV first"
    )


def test_mpeg_frames_have_the_sizes_of_the_standard() -> None:
    """128 kbit/s at 44.1 kHz is 417 bytes of 1152 samples; MPEG-2 halves the samples; layers I and II differ."""
    assert mpeg.parse(bytes([0xFF, 0xFB, 0x90, 0x00])) == (417, 1152)
    assert mpeg.parse(bytes([0xFF, 0xFB, 0x92, 0x00])) == (418, 1152)
    assert mpeg.parse(bytes([0xFF, 0xF3, 0x80, 0x00])) == (208, 576)
    assert mpeg.parse(bytes([0xFF, 0xFD, 0xA4, 0x00])) == (576, 1152)
    assert mpeg.parse(bytes([0xFF, 0xFF, 0x90, 0x00])) == (312, 384)
    assert mpeg.parse(b"\xff\xfb\x00\x00") == (0, 1152)
    assert mpeg.parse(b"\xff\xfb\xf0\x00") is None


def fuzzed(path: Path, content: bytes) -> None:
    """Read ``content`` as a file, or see it refused by name."""
    path.write_bytes(content)
    told, stem = "", None
    try:
        stem = read(path)
    except AudioError as error:
        told = str(error)
    if stem is None:
        assert told.startswith(f"{path}: ")
    else:
        assert bool(torch.isfinite(stem.samples).all())
        assert stem.samples.shape == (probe(path).channels, probe(path).frames)


@given(
    content=st.binary(max_size=300), magic=st.sampled_from([b"", b"RIFF0000WAVE", b"FORM0000AIFF", b"fLaC", b"OggS"])
)
@once_per_file
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, magic: bytes) -> None:
    """No bytes make anything but an `AudioError` or finite samples of the promised shape."""
    fuzzed(tmp_path / "any.wav", magic + content)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small sound in each family of container."""
    path = tmp_path_factory.mktemp("originals") / "x"
    kinds = [("WAV", "PCM_24"), ("RF64", "FLOAT"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("CAF", "PCM_24")]
    return {kind: encoded(path, kind, subtype) for kind, subtype in [*kinds, ("FLAC", "PCM_16"), ("OGG", "VORBIS")]}


@given(data=st.data())
@once_per_file
def test_a_flipped_header_is_read_or_refused(tmp_path: Path, originals: dict[str, bytes], data: st.DataObject) -> None:
    """Any byte of a header set to any value: an `AudioError`, or finite samples of the promised shape."""
    content = bytearray(originals[data.draw(st.sampled_from(sorted(originals)))])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 119))] = data.draw(st.integers(0, 255))
    fuzzed(tmp_path / "flipped.wav", bytes(content))


ErrorFrom = Callable[[Path], object]


@pytest.mark.parametrize("call", [probe, read, lambda path: read_blocks(path, 10)])
def test_every_way_in_refuses_at_the_call(tmp_path: Path, call: ErrorFrom) -> None:
    """Also `read_blocks` speaks up when it is called, before the first block is asked for."""
    with pytest.raises(AudioError, match="is not there"):
        call(tmp_path / "no.wav")


def test_blocks_of_nothing_are_refused(tmp_path: Path) -> None:
    """A block has at least one sample."""
    with pytest.raises(AudioError, match="expected at least 1"):
        read_blocks(tmp_path / "x.wav", 0)
