"""Overs: counted, and then kept, limited, scaled or refused, but never clipped in silence."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quantise import quantise
from render import overs
from render import spool as spools
from render.errors import RenderError

RATE = 8000


def _loud(count: int = 1, *, peak: float = 2.0, length: int = 4000) -> torch.Tensor:
    sound = 0.5 * torch.randn(2, length, generator=torch.Generator().manual_seed(1)).clamp(-1.9, 1.9)
    for i in range(count):
        sound[i % 2, 500 + 37 * i] = peak if i % 3 else -peak
    return sound


def _settle(
    sound: torch.Tensor, rate: int, subtype: str, policy: str, cuts: list[int] | None = None
) -> tuple[torch.Tensor, overs.Overs]:
    """``sound`` as it comes out, in blocks that end at ``cuts``, and what was found."""
    edges = sorted({0, sound.shape[1], *(c for c in cuts or () if c < sound.shape[1])})
    blocks = (sound[:, a:b] for a, b in itertools.pairwise(edges))
    settling = overs.Settling(rate, subtype, policy)
    with tempfile.TemporaryDirectory() as folder:
        with spools.beside(Path(folder) / "out.wav", sound.shape[0]) as spool:
            settled = torch.cat(list(settling.play(blocks, spool)), 1)
        assert not list(Path(folder).iterdir())
    return settled, settling.found


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "FLOAT", "DOUBLE"])
def test_sound_without_overs_is_untouched(subtype: str) -> None:
    """Full scale itself, up to the largest code, is no over: every bit comes back."""
    sound = torch.tensor([[-1.0, 0.0, 1 - 2**-7]])
    settled, found = _settle(sound, RATE, subtype, "limit")
    assert torch.equal(settled, sound)
    assert found == overs.Overs(0, "none")


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_outputs_keep_their_overs(subtype: str) -> None:
    """Float files hold what is over full scale, so nothing is done, and it is counted all the same."""
    sound = _loud(3)
    settled, found = _settle(sound, RATE, subtype, "refuse")
    assert torch.equal(settled, sound)
    assert (found.count, found.action) == (3, "kept")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.floats(1.01, 100), st.sampled_from(["PCM_16", "PCM_24", "PCM_32"]))
def test_limiting_ends_every_over_and_touches_nothing_far_from_one(count: int, peak: float, subtype: str) -> None:
    """No code clips, with dither too; samples more than 5 ms from an over keep every bit; the image stays.

    The tolerance on the ratio of channels is float32's rounding.
    """
    sound = _loud(count, peak=peak)
    settled, found = _settle(sound, RATE, subtype, "limit")
    assert (found.count, found.action) == (count, "limited")
    bits = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}[subtype]
    codes = quantise(settled, bits).double() / 2 ** (bits - 1)
    assert float((codes - settled.double()).abs().max()) < 2.0 * 2 ** (1 - bits) + 1e-9
    assert float(settled.abs().max()) < 1
    over = (sound.abs() > 1).any(0).nonzero()[:, 0]
    far = torch.ones(sound.shape[1], dtype=torch.bool)
    for at in over.tolist():
        far[max(0, at - 40) : at + 41] = False
    assert torch.equal(settled[:, far], sound[:, far])
    gain = settled / sound
    audible = (sound.abs() > 0.05).all(0)
    assert torch.allclose(gain[0, audible], gain[1, audible], rtol=1e-5)
    assert float(gain[:, audible].max()) <= 1 + 1e-6


def test_the_limiter_s_gain_moves_gently() -> None:
    """Around a single over of +6 dB the gain never steps by more than a tenth between two samples at 8 kHz."""
    sound = torch.full((1, 2000), 0.1)
    sound[0, 1000] = 2.0
    settled, _ = _settle(sound, RATE, "PCM_16", "limit")
    gain = (settled / sound)[0]
    assert float(gain.diff().abs().max()) < 0.1
    assert float(gain[1000]) == pytest.approx(0.5, abs=0.001)


def test_scaling_turns_the_whole_output_down_and_says_by_how_much() -> None:
    """A peak of 2 needs 6.02 dB; every sample goes down by the same factor."""
    sound = _loud(2)
    settled, found = _settle(sound, RATE, "PCM_24", "scale")
    assert found.action == "scaled"
    assert found.gain_db == pytest.approx(-6.02, abs=0.01)
    assert torch.allclose(settled, sound * 10 ** (found.gain_db / 20), atol=1e-6)
    assert float(settled.abs().max()) < 1


def test_refusing_names_the_peak_and_the_ways_out() -> None:
    """The error has the count, the peak in dBFS and what else can be chosen."""
    with pytest.raises(RenderError, match=r"4 samples are over full scale \(peak \+6\.0 dBFS\).*32f"):
        _settle(_loud(4), RATE, "PCM_16", "refuse")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(0, 29))
def test_overs_at_the_edges_of_tiny_files_are_limited(length: int, at: int) -> None:
    """Files shorter than the look-ahead, with an over anywhere, come back below full scale and of the same length."""
    sound = torch.full((1, length), 0.25)
    sound[0, at % length] = 5.0
    settled, found = _settle(sound, RATE, "PCM_16", "limit")
    assert settled.shape == sound.shape
    assert found.count == 1
    assert float(settled.abs().max()) < 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4000),
    st.lists(st.integers(1, 4000), max_size=8),
    st.integers(0, 12),
    st.sampled_from(["limit", "scale"]),
    st.booleans(),
)
def test_blocks_are_not_heard(length: int, cuts: list[int], count: int, policy: str, wide: bool) -> None:
    """Random lengths, overs and blocks: to the bit what one block makes, of float64 too, and the same is told."""
    sound = torch.randn(2, length, generator=torch.Generator().manual_seed(length)) / 5
    for at in torch.randint(0, length, (count,), generator=torch.Generator().manual_seed(count)).tolist():
        sound[at % 2, at] = 3.0
    sound = sound.double() if wide else sound
    one, several = (_settle(sound, RATE, "PCM_24", policy, c) for c in ([], cuts))
    assert torch.equal(one[0], several[0])
    assert one[0].dtype == sound.dtype
    assert one[1] == several[1]


def test_many_tiny_blocks_are_not_heard_either() -> None:
    """A sample at a time, with overs close to each other and to both ends."""
    sound = _loud(9, length=900)
    sound[:, 0] = sound[:, -1] = 4.0
    one, _ = _settle(sound, RATE, "PCM_16", "limit")
    assert torch.equal(_settle(sound, RATE, "PCM_16", "limit", list(range(900)))[0], one)


def test_the_limiter_holds_no_more_than_it_hears() -> None:
    """Of 1 000 blocks not one more than two is taken before the first comes out: memory does not grow."""
    taken = 0

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield torch.full((1, 100), 0.5)

    played = overs.Settling(RATE, "PCM_16", "limit").play(blocks())
    for number, block in enumerate(played, 1):
        assert block.shape[1] <= 140
        assert taken - number <= 2


def test_a_spool_is_of_one_kind(tmp_path: Path) -> None:
    """Blocks of another type or number of channels would be read back as something else, so they are refused."""
    with spools.beside(tmp_path / "out.wav", 2) as spool:
        assert not list(spool.blocks())
        spool.append(torch.ones(2, 5))
        for block in (torch.ones(2, 5).double(), torch.ones(1, 5)):
            with pytest.raises(ValueError, match="after 2 of float32"):
                spool.append(block)
        assert torch.equal(torch.cat(list(spool.blocks()), 1), torch.ones(2, 5))
