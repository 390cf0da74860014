"""Sound files in pieces: a stem read at random and a file written in blocks are those of one go, bit for bit."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import encoding
from engine.audio import Format, Stem, Writer, probe, read, write
from engine.errors import AudioError
from engine.formats import WRITABLE

PAIRS = [(container, subtype) for container, subtypes in WRITABLE.items() for subtype in subtypes]
RATE = 8000
few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def noise(channels: int, samples: int, peak: float = 0.9) -> torch.Tensor:
    """White noise, uniform within ``peak``, the same every time."""
    return (torch.rand(channels, samples, generator=torch.Generator().manual_seed(samples)) * 2 - 1) * peak


def in_blocks(path: Path, samples: torch.Tensor, cuts: list[int], format: Format, seed: int = 0) -> None:
    """Write ``samples`` in blocks that end at ``cuts``."""
    edges = sorted({0, samples.shape[1], *(c % samples.shape[1] for c in cuts)})
    with Writer(path, RATE, samples.shape[0], samples.shape[1], format, dither_seed=seed) as writer:
        for start, stop in pairwise(edges):
            writer.write(samples[:, start:stop])


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.mp3", "ima.wav", "ms.wav", "alac.caf"])
@given(spans=st.lists(st.tuples(st.integers(0, 29_999), st.integers(0, 9000)), min_size=1, max_size=5))
@few
def test_a_stem_reads_the_same_samples_in_any_order(tmp_path: Path, name: str, spans: list[tuple[int, int]]) -> None:
    """Any spans, forwards and backwards, of coders with memory too: the very samples that are there in one go.

    An MP3's within float32's rounding.
    """
    path = tmp_path / name
    subtype = {"ima.wav": "IMA_ADPCM", "ms.wav": "MS_ADPCM", "alac.caf": "ALAC_16"}.get(name)
    if not path.exists():
        soundfile.write(path, noise(2, 30_000, 0.5).T.numpy(), 22050, subtype)
    whole = read(path).samples
    with Stem(path) as stem:
        assert (stem.channels, stem.samples, stem.rate) == (*whole.shape, 22050)
        for start, count in spans:
            count = min(count, stem.samples - start)
            found, expected = stem.read(start, count), whole[:, start : start + count]
            if name == "x.mp3":
                assert torch.allclose(found, expected, rtol=0, atol=2**-22)
            else:
                assert torch.equal(found, expected)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "DOUBLE"])
def test_a_stem_has_its_exact_bits_to_give(tmp_path: Path, subtype: str) -> None:
    """What float32 cannot hold is read again as float64, in the middle of reading float32."""
    path = tmp_path / "x.wav"
    write(path, noise(2, 500).double() / 3, RATE, Format("WAV", subtype))
    exact = read(path, exact=True).samples
    with Stem(path) as stem:
        assert stem.wide == (subtype != "PCM_24")
        assert torch.equal(stem.read(0, 200), exact[:, :200].float())
        assert torch.equal(stem.read_exact(100, 300), exact[:, 100:400])
        assert stem.read_exact(100, 300).dtype == exact.dtype
        assert torch.equal(stem.read(200, 300), exact[:, 200:].float())


def test_a_stem_takes_no_more_memory_than_is_asked_for(tmp_path: Path) -> None:
    """An 8 MB file read in pieces holds under 1 MB at any time (numpy's and Python's allocations)."""
    path = tmp_path / "long.wav"
    write(path, torch.zeros(2, 2_000_000), 44100, Format("WAV", "PCM_16"))
    tracemalloc.start()
    try:
        with Stem(path) as stem:
            for start in range(0, stem.samples, 10_000):
                stem.read(start, 10_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_is_wrong_with_a_stem_is_said_where_it_is_met(tmp_path: Path) -> None:
    """A span beyond the end, and a sample that is no number with its time; what comes after can still be read."""
    path = tmp_path / "x.wav"
    write(path, noise(1, 16_000), RATE, Format("WAV", "FLOAT"))
    data = bytearray(path.read_bytes())
    data[-16_000:-15_996] = torch.tensor([float("nan")]).numpy().tobytes()
    path.write_bytes(bytes(data))
    with Stem(path) as stem:
        assert stem.read(0, 12_000).shape == (1, 12_000)
        with pytest.raises(AudioError, match=r"x\.wav: has a sample that is NaN at 1\.500 s \(sample 12000\)"):
            stem.read(11_000, 2000)
        assert torch.equal(stem.read(12_001, 3999), noise(1, 16_000)[:, 12_001:])
        for start, count in ((0, 16_001), (-1, 5), (16_001, 0)):
            with pytest.raises(AudioError, match="expected 0 to 16000"):
                stem.read(start, count)
    with pytest.raises(AudioError, match="is not there"):
        Stem(tmp_path / "none.wav")


@pytest.mark.parametrize(("container", "subtype"), PAIRS)
def test_blocks_make_the_bytes_of_one_write(tmp_path: Path, container: str, subtype: str) -> None:
    """Every format: dither, silence, headers and pad bytes do not know how the samples came."""
    x = noise(3, 5001)
    x[:, 1000:2000] = 0
    write(tmp_path / "whole", x, RATE, Format(container, subtype), dither_seed=9)
    in_blocks(tmp_path / "blocks", x, [1, 2, 900, 1500, 4096, 5000], Format(container, subtype), 9)
    assert (tmp_path / "blocks").read_bytes() == (tmp_path / "whole").read_bytes()


@given(frames=st.integers(1, 3000), cuts=st.lists(st.integers(0, 3000), max_size=6), wide=st.booleans())
@few
def test_any_cuts_make_the_same_bytes(tmp_path: Path, frames: int, cuts: list[int], wide: bool) -> None:
    """Random lengths and blocks, float32 and float64, at 16 bits with dither and as float."""
    x = noise(2, frames).to(torch.float64 if wide else torch.float32)
    for subtype in ("PCM_16", "FLOAT"):
        write(tmp_path / "whole.wav", x, RATE, Format("WAV", subtype))
        in_blocks(tmp_path / "blocks.wav", x, cuts, Format("WAV", subtype))
        assert (tmp_path / "blocks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_blocks_that_do_not_add_up_are_an_error(tmp_path: Path) -> None:
    """Too many, too few, of other channels, or not finite: named, with what was expected."""
    form = Format("WAV", "PCM_16")
    with (
        pytest.raises(AudioError, match="was given 5 frames; expected 9"),
        Writer(tmp_path / "few.wav", RATE, 2, 9, form) as writer,
    ):
        writer.write(noise(2, 5))
    for block, told in (
        (noise(2, 10), "expected 2 channels and 9 frames"),
        (noise(1, 9), "expected 2 channels and 9 frames"),
        (noise(2, 9) * float("inf"), r"infinite at 0\.000 s"),
        (torch.zeros(9), "expected floats"),
    ):
        with pytest.raises(AudioError, match=told), Writer(tmp_path / "x.wav", RATE, 2, 9, form) as writer:
            writer.write(block)
    with pytest.raises(AudioError, match="expected at least 1"):
        Writer(tmp_path / "none.wav", RATE, 2, 0, form)
    assert not (tmp_path / "none.wav").exists()


def test_what_stopped_the_writing_is_what_is_told(tmp_path: Path) -> None:
    """An interrupt between two blocks comes through as itself, and the file is let go of."""

    def stopped() -> None:
        with Writer(tmp_path / "x.wav", RATE, 1, 9, Format("WAV", "PCM_16")) as writer:
            writer.write(noise(1, 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    (tmp_path / "x.wav").unlink()


def test_the_size_of_the_whole_decides_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promised length makes a WAV an RF64 before the first block is there."""
    monkeypatch.setattr(encoding, "WAV_BYTES", 1000)
    in_blocks(tmp_path / "big.wav", noise(2, 400), [7], Format("WAV", "PCM_24"))
    assert probe(tmp_path / "big.wav").format == Format("RF64", "PCM_24")
