"""Sound files in and out: every depth comes back bit for bit, and nothing but rounding is dithered."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import audio, encoding
from engine.audio import Format, keep_bits, output_format, overs, probe, quantise, read, read_blocks, write
from engine.errors import AudioError
from engine.formats import INTEGER_BITS, WRITABLE

PAIRS = [(container, subtype) for container, subtypes in WRITABLE.items() for subtype in subtypes]
DEPTHS = st.sampled_from([8, 16, 24, 32])
once_per_file = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def noise(channels: int, samples: int, peak: float = 1.0) -> torch.Tensor:
    """White noise, uniform within ``peak``, the same every time."""
    return (torch.rand(channels, samples, generator=torch.Generator().manual_seed(samples)) * 2 - 1) * peak


@pytest.mark.parametrize(("container", "subtype"), PAIRS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_was_read_is_written_back_bit_for_bit(tmp_path: Path, container: str, subtype: str, channels: int) -> None:
    """Every writable format, channel count and odd length: read, write, read again gives the very same samples."""
    first, second = tmp_path / "first", tmp_path / "second"
    for samples in (1, 2, 7, 301):
        write(first, noise(channels, samples), 44056, Format(container, subtype))
        stem = read(first, exact=True)
        write(second, stem.samples, stem.rate, output_format(stem.format))
        again = read(second, exact=True)
        assert stem.samples.shape == again.samples.shape == (channels, samples)
        assert (again.rate, again.format) == (44056, Format(container, subtype))
        assert torch.equal(again.samples, stem.samples)
        if subtype != "ULAW":
            assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("container", "endian"), [("WAV", "BIG"), ("AIFF", "LITTLE"), ("CAF", "LITTLE")])
def test_the_byte_order_of_a_stem_is_kept(tmp_path: Path, container: str, endian: str) -> None:
    """RIFX and 'sowt' AIFF stay what they are, and read as the same sound as the usual order."""
    path = tmp_path / "stem"
    write(path, noise(2, 99), 44100, Format(container, "PCM_16", endian))
    stem = read(path)
    assert stem.format == output_format(stem.format) == Format(container, "PCM_16", endian)
    assert torch.equal(stem.samples, quantise(noise(2, 99), 16).float() / 2**15)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_integers_are_read_as_fractions_of_full_scale(tmp_path: Path, subtype: str) -> None:
    """Step k of b bits is k / 2^(b - 1) exactly, both ends of the scale included."""
    bits = INTEGER_BITS[subtype]
    steps = np.array([-(2 ** (bits - 1)), -1, 0, 1, 2 ** (bits - 1) - 1], dtype=np.int64)
    path = tmp_path / "steps.wav"
    soundfile.write(path, (steps << (32 - bits)).astype(np.int32), 8000, subtype)
    assert read(path, exact=True).samples[0].double().tolist() == (steps / 2.0 ** (bits - 1)).tolist()


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_every_companded_code_survives(tmp_path: Path, subtype: str) -> None:
    """All 256 codes of mu-law and A-law come back as the value they stood for."""
    raw = tmp_path / "codes.bin"
    raw.write_bytes(bytes(range(256)))
    values = soundfile.read(raw, channels=1, samplerate=8000, format="RAW", subtype=subtype, dtype="float32")[0]
    write(tmp_path / "codes.wav", torch.from_numpy(values)[None], 8000, Format("WAV", subtype))
    assert read(tmp_path / "codes.wav").samples[0].tolist() == values.tolist()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 37800, 44056, 44100, 48000, 96000, 176400, 192000])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC"])
def test_any_rate_is_kept(tmp_path: Path, container: str, rate: int) -> None:
    """Rates from 8 to 192 kHz, odd ones too, are what `probe` says afterwards."""
    write(tmp_path / "stem", noise(1, 11), rate, Format(container, "PCM_24"))
    info = probe(tmp_path / "stem")
    assert (info.rate, info.frames, info.duration_s) == (rate, 11, 11 / rate)


def test_wide_samples_keep_their_bits_unless_touched(tmp_path: Path) -> None:
    """A 32-bit or double stem loses nothing where the engine, which hears float32, changed nothing."""
    path = tmp_path / "wide.wav"
    stem = noise(2, 1000).double() + 2.0**-30
    for subtype in ("PCM_32", "DOUBLE"):
        write(path, stem, 48000, Format("WAV", subtype))
        exact = read(path, exact=True).samples
        heard = read(path).samples
        assert exact.dtype == torch.float64
        assert heard.dtype == torch.float32
        assert not torch.equal(heard.double(), exact)
        styled = heard.clone()
        styled[:, 500:] *= 0.5
        out = keep_bits(styled, exact)
        assert torch.equal(out[:, :500], exact[:, :500])
        assert torch.equal(out[:, 500:], styled[:, 500:].double())
    assert keep_bits(heard, heard) is heard


@given(samples=st.integers(1, 3000), block=st.integers(1, 1500), subtype=st.sampled_from(["PCM_16", "FLOAT"]))
@once_per_file
def test_blocks_are_the_file(tmp_path: Path, samples: int, block: int, subtype: str) -> None:
    """Blocks of any size, put end to end, are the whole file; all but the last are full."""
    path = tmp_path / "blocks.wav"
    write(path, noise(2, samples), 8000, Format("WAV", subtype))
    blocks = list(read_blocks(path, block))
    assert all(b.shape == (2, block) for b in blocks[:-1])
    assert torch.equal(torch.cat(blocks, 1), read(path).samples)


@pytest.mark.parametrize("name", ["x.ogg", "x.mp3", "x.flac"])
def test_blocks_of_coded_sound_join_without_a_seam(tmp_path: Path, name: str) -> None:
    """Decoders with memory give the same samples in blocks as in one go."""
    path = tmp_path / name
    soundfile.write(path, noise(2, 20000, 0.5).T.numpy(), 44100)
    assert read(path).samples.shape == (2, 20000)
    assert torch.equal(torch.cat(list(read_blocks(path, 777)), 1), read(path).samples)


def test_blocks_take_no_more_memory_than_a_block(tmp_path: Path) -> None:
    """Reading 8 MB of sound in blocks holds under 1 MB at any time (numpy and Python allocations)."""
    import tracemalloc

    path = tmp_path / "long.wav"
    write(path, torch.zeros(2, 2_000_000), 44100, Format("WAV", "PCM_16"))
    tracemalloc.start()
    try:
        assert sum(block.shape[1] for block in read_blocks(path, 10_000)) == 2_000_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(bits=DEPTHS, seed=st.integers(0, 2**32 - 1), steps=st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=50))
@settings(deadline=None)
def test_samples_on_the_grid_are_never_dithered(bits: int, seed: int, steps: list[float]) -> None:
    """Whole steps, silence among them, come back as those steps whatever the seed."""
    whole = torch.tensor([[round(s * (2 ** (bits - 1) - 1)) for s in steps]], dtype=torch.int64)
    assert torch.equal(quantise(whole.double() / 2 ** (bits - 1), bits, seed).long(), whole)


def test_dither_hides_the_rounding() -> None:
    """A quarter of a step keeps its mean (in steps, 5 sigma of 40 000 draws), with TPDF's variance and reach."""
    out = quantise(torch.full((1, 40_000), 0.25 / 2**15), 16, seed=3).double()
    assert set(out[0].tolist()) == {-1.0, 0.0, 1.0}
    # Two-step TPDF makes the total error's variance 1/4 of a step squared, whatever the input.
    assert float(out.mean()) == pytest.approx(0.25, abs=5 * 0.5 / 200)
    assert float(((out - 0.25) ** 2).mean()) == pytest.approx(0.25, rel=0.05)


def test_dither_follows_its_seed() -> None:
    """The same seed makes the same steps, another seed others."""
    x = noise(2, 500, 0.9)
    assert torch.equal(quantise(x, 16, 1), quantise(x, 16, 1))
    assert not torch.equal(quantise(x, 16, 1), quantise(x, 16, 2))


def test_the_written_dither_does_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are the same whether a file is written in one piece or many, silent pieces between them."""
    x = noise(2, 3000, 0.9)
    x[:, 1000:2000] = 0
    for block in (65536, 300):
        monkeypatch.setattr(encoding, "_BLOCK", block)
        write(tmp_path / f"{block}.wav", x, 44100, Format("WAV", "PCM_16"), dither_seed=9)
    assert (tmp_path / "300.wav").read_bytes() == (tmp_path / "65536.wav").read_bytes()
    assert torch.equal(read(tmp_path / "300.wav").samples, quantise(x, 16, 9).float() / 2**15)
    assert not read(tmp_path / "300.wav").samples[:, 1000:2000].any()


@given(bits=DEPTHS, value=st.floats(allow_nan=False, allow_infinity=False, width=32))
@settings(deadline=None)
def test_nothing_ever_wraps(bits: int, value: float) -> None:
    """Any finite sample lands within two steps of itself clipped to full scale: never on the other side."""
    step = 2.0 ** (1 - bits)
    got = float(quantise(torch.tensor([[value]], dtype=torch.float64), bits, 0)) * step
    assert abs(got - min(max(value, -1.0), 1.0 - step)) <= 2 * step


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"])
def test_overs_clip_in_the_file_and_do_not_wrap(tmp_path: Path, subtype: str) -> None:
    """Samples beyond full scale come back at the top of the scale with their sign (within mu-law's top step, 2 %)."""
    write(tmp_path / "over.wav", torch.tensor([[1.0, 1.5, 40.0, -1.5, -40.0]]), 8000, Format("WAV", subtype))
    got = read(tmp_path / "over.wav").samples[0]
    assert torch.allclose(got, torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0]), atol=0.02)


def test_float_files_keep_overs(tmp_path: Path) -> None:
    """What is beyond full scale stays as it is in a float file."""
    x = torch.tensor([[1.5, -40.0, 1.0]])
    write(tmp_path / "over.wav", x, 8000, Format("WAV", "FLOAT"))
    assert torch.equal(read(tmp_path / "over.wav").samples, x)


def test_overs_are_counted_where_integers_clip() -> None:
    """+1 is an over and -1 is not: integers reach one step less far up than down."""
    assert overs(torch.tensor([[1.0, -1.0, 0.999, 0.0], [1.5, -1.001, -2.0, 0.5]])) == 4


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF"])
def test_no_file_tells_the_time(tmp_path: Path, container: str) -> None:
    """The same samples make the same bytes later: libsndfile's PEAK chunk has its clock taken out."""
    first, later = tmp_path / "first", tmp_path / "later"
    write(first, noise(2, 50), 44100, Format(container, "FLOAT"))
    if b"PEAK" in first.read_bytes():
        start = time.time()
        time.sleep(1.01 - start % 1)
    write(later, noise(2, 50), 44100, Format(container, "FLOAT"))
    assert first.read_bytes() == later.read_bytes()


def test_a_wav_too_big_for_its_header_becomes_an_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what 32 bits count a WAV is written as RF64, and an AIFF is refused with the way out."""
    monkeypatch.setattr(encoding, "WAV_BYTES", 1000)
    monkeypatch.setattr(encoding, "AIFF_BYTES", 1000)
    write(tmp_path / "big.wav", noise(2, 400), 44100, Format("WAVEX", "PCM_24"))
    assert probe(tmp_path / "big.wav").format == Format("RF64", "PCM_24")
    with pytest.raises(AudioError, match="do not fit into an AIFF; choose WAV or FLAC"):
        write(tmp_path / "big.aiff", noise(2, 400), 44100, Format("AIFF", "PCM_24"))
    assert not (tmp_path / "big.aiff").exists()


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (torch.zeros(5), r"shape \[5\]"),
        (torch.zeros(2, 0), r"shape \[2, 0\]"),
        (torch.zeros(2, 3, dtype=torch.int16), "torch.int16"),
        (torch.tensor([[0.0, 0.0], [0.0, float("nan")]]), r"NaN at 0.000 s \(sample 1\) in channel 2"),
        (torch.tensor([[float("-inf")]]), "infinite"),
    ],
)
def test_what_is_no_sound_is_not_written(tmp_path: Path, samples: torch.Tensor, told: str) -> None:
    """Wrong shapes, integers and samples that are not finite raise before a file appears."""
    with pytest.raises(AudioError, match=told):
        write(tmp_path / "no.wav", samples, 44100, Format("WAV", "PCM_16"))
    assert not (tmp_path / "no.wav").exists()


def test_a_file_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    """A folder that is not there and a container with too many channels are named, with the remedy."""
    with pytest.raises(AudioError, match="check that its folder exists"):
        write(tmp_path / "none" / "x.wav", noise(1, 5), 44100, Format("WAV", "PCM_16"))
    with pytest.raises(AudioError, match="9 channels at 44100 Hz in FLAC PCM_16"):
        write(tmp_path / "x.flac", noise(9, 5), 44100, Format("FLAC", "PCM_16"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_an_error() -> None:
    """Samples that the disk does not take are an `AudioError`, not silence."""
    with pytest.raises(AudioError, match="/dev/full: "):
        write("/dev/full", noise(2, 400_000), 44100, Format("WAV", "PCM_16"))


def test_frames_that_did_not_reach_the_disk_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is counted: a file that came out shorter, and says so itself, is not taken for the stem."""
    path = tmp_path / "short.wav"
    real = encoding._settle

    def lose_the_end(path: Path, format: Format, frames: int, channels: int) -> None:
        soundfile.write(path, np.zeros(30), 44100, "PCM_16", format="WAV")
        real(path, format, frames, channels)

    monkeypatch.setattr(encoding, "_settle", lose_the_end)
    with pytest.raises(AudioError, match="took only 30 of 40 frames; is the disk full"):
        write(path, noise(1, 40), 44100, Format("WAV", "PCM_16"))


def test_a_stem_goes_back_into_its_own_format() -> None:
    """Its own where it can be written, WAV PCM_24 otherwise, another by choice, the nearest name when misspelt."""
    wav = Format("WAV", "PCM_U8")
    assert output_format(wav) == wav
    assert output_format(Format("OGG", "VORBIS")) == Format("WAV", "PCM_24")
    assert output_format(Format("WAV", "IMA_ADPCM")) == Format("WAV", "PCM_24")
    assert output_format(wav, "aiff") == Format("AIFF", "PCM_U8")
    assert output_format(wav, "flac") == Format("FLAC", "PCM_S8")
    assert output_format(wav, subtype="32f") == Format("WAV", "FLOAT")
    assert output_format(Format("WAVEX", "PCM_24"), "WAV") == Format("WAVEX", "PCM_24")
    assert output_format(Format("AIFF", "PCM_16", "LITTLE"), subtype="24") == Format("AIFF", "PCM_24")
    with pytest.raises(AudioError, match=r"no container is called 'FLACK', did you mean 'FLAC'\?"):
        output_format(wav, "flack")
    with pytest.raises(AudioError, match=r"no subtype is called 'PCM24', did you mean 'PCM_24'\?"):
        output_format(wav, subtype="pcm24")
    with pytest.raises(AudioError, match="FLAC cannot hold FLOAT; expected one of PCM_S8, PCM_16, PCM_24"):
        output_format(wav, "flac", "float")


@pytest.mark.parametrize("container", WRITABLE)
def test_every_promised_format_is_one_libsndfile_writes(container: str) -> None:
    """The table of writable formats is true of the library that is installed."""
    assert all(soundfile.check_format(container, subtype) for subtype in WRITABLE[container])


def test_probing_does_not_wait_for_torch(tmp_path: Path) -> None:
    """`probe` works without torch or soxr being imported, so that commands which only look start fast."""
    path = tmp_path / "x.wav"
    write(path, noise(1, 5), 44100, Format("WAV", "PCM_16"))
    code = (
        "import sys; from engine.audio import probe; print(probe(sys.argv[1]).frames); "
        "assert not {'torch', 'soxr'} & set(sys.modules)"
    )
    root = Path(audio.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"
