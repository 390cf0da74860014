"""How long a render will take, about: the one place where real-time factors are kept."""

from collections.abc import Mapping

# Seconds of 44.1 kHz stereo rendered per second of work; one channel takes about three quarters of two, and work
# grows with the rate. CPU figures are of two cores, from `gramophone bench`.
_REAL_TIME: Mapping[str, Mapping[str, float]] = {
    "cpu": {"draft": 20.0, "standard": 3.0, "fine": 1.1},
    "mps": {"draft": 40.0, "standard": 5.0, "fine": 2.0},
    "cuda": {"draft": 200.0, "standard": 40.0, "fine": 15.0},
}
# Reading, the chain, writing and flushing, for each second of 44.1 kHz stereo and for each stem.
_AROUND = 1 / 60
_PER_STEM_S = 0.2
_SLOWEST = "cpu"


def seconds(
    duration_s: float, *, rate: int, channels: int, quality: str, device: str, styled: bool, times: int = 1
) -> float:
    """About how many seconds a stem takes; ``device`` is cpu, cuda or mps.

    ``styled`` says whether the engine works, ``times`` how often over.
    """
    factors = _REAL_TIME.get(device.split(":")[0], _REAL_TIME[_SLOWEST])
    size = duration_s * rate / 44_100 * (0.5 + 0.25 * channels)
    return _PER_STEM_S + size * (_AROUND + (times / factors[quality] if styled else 0.0))
