"""How long a render will take, about: the one place where real-time factors are kept."""

from collections.abc import Mapping

from engine import recipes
from presets.cards import Card

# Seconds of 44.1 kHz stereo rendered per second of work, by recipes whose speed `gramophone bench` knows; one channel
# takes about three quarters of two, and work grows with the rate. CPU figures are of two cores.
_REAL_TIME: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "kernel": {
        "cpu": {"draft": 20.0, "standard": 3.0, "fine": 1.1},
        "mps": {"draft": 40.0, "standard": 5.0, "fine": 2.0},
        "cuda": {"draft": 200.0, "standard": 40.0, "fine": 15.0},
    },
}
# Of the others it is known what one core takes at 22 050 Hz: how many such cores a device is worth, and how much more
# both passes of a long stem are than one.
_CORES: Mapping[str, float] = {"cpu": 1.5, "mps": 4.0, "cuda": 20.0}
_PASSES = 1.4
# Reading, the chain, writing and flushing, for each second of 44.1 kHz stereo and for each stem.
_AROUND = 1 / 60
_PER_STEM_S = 0.2
_SLOWEST = "cpu"


def seconds(
    duration_s: float, *, rate: int, channels: int, quality: str, device: str, card: Card | None, times: int = 1
) -> float:
    """About how many seconds a stem takes; ``device`` is cpu, cuda or mps.

    ``card`` is the preset's where the engine works, and ``times`` how often over.
    """
    size = duration_s * rate / 44_100 * (0.5 + 0.25 * channels)
    around = _PER_STEM_S + size * _AROUND
    if card is None:
        return around
    kind = device.split(":")[0]
    if card.recipe in _REAL_TIME:
        known = _REAL_TIME[card.recipe]
        return around + times * size / known.get(kind, known[_SLOWEST])[quality]
    work_s = recipes.find(card.recipe).work_s(card.params, quality)
    heard = duration_s * card.rate / 22_050 * (0.5 + 0.25 * channels)
    return around + times * heard * work_s * _PASSES / _CORES.get(kind, _CORES[_SLOWEST])
