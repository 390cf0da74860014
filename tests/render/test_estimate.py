"""Estimates: rough, but the right way round."""

import pytest

from engine.style import QUALITIES
from render import estimate


def _of(
    quality: str = "standard", *, rate: int = 44_100, channels: int = 2, device: str = "cpu", styled: bool = True
) -> float:
    return estimate.seconds(60.0, rate=rate, channels=channels, quality=quality, device=device, styled=styled)


def test_every_quality_has_a_figure_and_better_takes_longer() -> None:
    """Draft before standard before fine, on every device."""
    for device in ("cpu", "cuda", "mps"):
        times = [_of(quality, device=device) for quality in QUALITIES]
        assert times == sorted(times)
        assert times[0] < times[-1]


def test_more_channels_and_higher_rates_take_longer() -> None:
    """A mono stem takes less than a stereo one, 96 kHz more than 44.1."""
    assert _of(channels=1) < _of() < _of(channels=6)
    assert _of() < _of(rate=96_000)


def test_what_is_not_styled_takes_next_to_nothing() -> None:
    """A minute is copied, or run through a chain, in seconds."""
    assert _of(styled=False) < 5


@pytest.mark.parametrize("device", ["cuda:3", "xpu"])
def test_other_devices_are_estimated_too(device: str) -> None:
    """The third GPU is a GPU, and an unknown device is taken for a slow one."""
    assert _of(device=device) == _of(device="cuda" if device.startswith("cuda") else "cpu")
