"""The page holds all it shows, asks nobody for anything, and says of every file what is true of it."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib import image as images

from engine import audio
from render import page
from render.errors import RenderError
from render.page import Content, Exhibit

RATE = 16000


def _wav(path: Path, samples: torch.Tensor, rate: int = RATE) -> Path:
    audio.write(path, samples, rate, audio.Format("WAV", "PCM_24"))
    return path


def _tone(hz: float, seconds: float = 0.5, gain: float = 0.5, rate: int = RATE) -> torch.Tensor:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (gain * torch.sin(2.0 * torch.pi * hz * t)).float().expand(2, -1).contiguous()


def _page(*exhibits: Exhibit, **rest: object) -> str:
    return page.html(Content("Night <Bus>", ["One & two."], exhibits, **rest))  # type: ignore[arg-type]


def _sounds(text: str) -> list[tuple[np.ndarray, int]]:
    found = re.findall(r'src="data:audio/flac;base64,([^"]+)"', text)
    return [soundfile.read(io.BytesIO(base64.b64decode(data)), always_2d=True) for data in found]


@pytest.fixture
def pair(tmp_path: Path) -> Exhibit:
    """A low tone before and a high one, 6 dB quieter, after."""
    before, after = _wav(tmp_path / "low.wav", _tone(200.0)), _wav(tmp_path / "high.wav", _tone(2000.0, gain=0.25))
    return Exhibit("Tone", before, after, facts={"Preset": "tape", "Chain": "reverb"})


def test_nothing_is_fetched(pair: Exhibit) -> None:
    """No address of anything outside the page stands in it, and its policy forbids requests should one slip in."""
    text = _page(pair)
    assert "default-src 'none'" in text
    assert re.findall(r"https?:|//[a-z]+\.", text.replace("data:", "")) == []
    assert all(source.startswith(("data:", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', text))


def test_sound_is_inside(pair: Exhibit) -> None:
    """The players hold the very samples of the files, to 16 bits (2^-15: half a step of rounding and one of dither)."""
    before, after = _sounds(_page(pair))
    for (heard, rate), tone in ((before, _tone(200.0)), (after, _tone(2000.0, gain=0.25))):
        assert rate == RATE
        np.testing.assert_allclose(heard.T, tone.numpy(), atol=2.0 * 2.0**-15)


def test_pictures_show_the_sound(pair: Exhibit) -> None:
    """The brightest row of each picture lies at the tone's frequency on the log axis, to 2 % of the height."""
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', _page(pair))
    for data, hz in zip(pictures, (200.0, 2000.0), strict=True):
        pixels = images.imread(io.BytesIO(base64.b64decode(data)))[..., :3].sum(axis=(1, 2))
        from_bottom = 1.0 - (np.argmax(pixels) + 0.5) / len(pixels)
        assert from_bottom == pytest.approx(np.log(hz / 40.0) / np.log(RATE / 2 / 40.0), abs=0.02)


def test_facts_are_told(pair: Exhibit) -> None:
    """Level, peak, length and the facts given are on the page; the sine's RMS is 3 dB under its peak."""
    text = _page(pair, columns=["Preset"], about={"Seed": "7"}, failures={"Voice": "no such file"})
    for expected in (
        "level −9.0 · peak −6.0",
        "level −15.1 · peak −12.0",
        "−9.0 → −15.1",
        "0.50 s",
        "tape",
        "reverb",
        "Seed <b>7</b>",
    ):
        assert expected in text
    assert "<b>Voice</b>: no such file" in text


def test_text_is_escaped(tmp_path: Path) -> None:
    """Names from outside cannot become markup."""
    path = _wav(tmp_path / "a'b.wav", _tone(200.0))
    text = _page(Exhibit('<img src=x onerror="alert(1)">', path, facts={"Preset": "<b>"}))
    assert "<img src=x" not in text
    assert "<h1>Night &lt;Bus&gt;</h1>" in text
    assert "&lt;b&gt;" in text


def test_one_sided_exhibits_have_no_switch(pair: Exhibit) -> None:
    """A reference alone has one player and nothing to switch to."""
    text = _page(pair, references=[Exhibit("Reference", pair.before, labels=("reference", ""))])
    assert text.count('class="switch"') == 1
    assert len(_sounds(text)) == 3


def test_long_files_are_heard_where_they_are_loudest(tmp_path: Path) -> None:
    """Of a file longer than asked for the page holds its loudest stretch, both sides the same, and says which."""
    quiet = torch.cat([_tone(200.0, 2.0, 0.01), _tone(200.0, 1.0, 0.5), _tone(200.0, 2.0, 0.01)], dim=1)
    before = _wav(tmp_path / "b.wav", quiet)
    after = _wav(tmp_path / "a.wav", quiet.flip(1))
    text = page.html(Content("T", [], [Exhibit("Long", before, after)]), longest_s=1.0)
    assert "Heard here: 2.0 to 3.0 s." in text
    first, second = _sounds(text)
    assert first[0].shape == second[0].shape == (RATE, 2)
    assert first[0].std() > 0.3


def test_a_ring_out_is_kept(tmp_path: Path) -> None:
    """A render that rings on after the stem's end is heard whole; the stem's side is filled with silence."""
    before, after = _wav(tmp_path / "b.wav", _tone(200.0, 0.5)), _wav(tmp_path / "a.wav", _tone(200.0, 0.8))
    first, second = _sounds(_page(Exhibit("Tail", before, after)))
    assert first[0].shape == second[0].shape == (round(0.8 * RATE), 2)


def test_high_rates_are_heard_at_48_khz(tmp_path: Path) -> None:
    """The page keeps sane in size: a 96 kHz file is played at 48 kHz, and as long."""
    path = _wav(tmp_path / "hi.wav", _tone(200.0, 0.5, rate=96000), 96000)
    ((heard, rate),) = _sounds(_page(Exhibit("High", path)))
    assert rate == 48000
    assert len(heard) == 24000


def test_different_rates_are_refused(tmp_path: Path) -> None:
    """Two sides that cannot line up are refused with both rates, not resampled in silence."""
    before, after = _wav(tmp_path / "b.wav", _tone(200.0)), _wav(tmp_path / "a.wav", _tone(200.0), 8000)
    with pytest.raises(RenderError, match=r"a\.wav is at 8000 Hz; expected 16000 Hz"):
        _page(Exhibit("Rates", before, after))


def test_silence_has_a_picture(tmp_path: Path) -> None:
    """Digital silence is shown and called so."""
    path = _wav(tmp_path / "s.wav", torch.zeros(1, 4000))
    assert "silent" in _page(Exhibit("Silence", path))
