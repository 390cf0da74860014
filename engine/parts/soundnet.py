"""SoundNet-8: a network for waveforms, taught by image networks what videos show while they sound.

Aytar, Vondrick & Torralba 2016; used for style by Grinstein et al. 2018.  Ported from its published weights: 22 050 Hz,
samples times 256, seven convolutions with normalisation and ReLU, pools of eight after the first two and of four after
the fifth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import conv1d, max_pool1d

from engine import weights as store
from engine.layouts import SOUNDNET
from engine.parts.features import Maps, Network
from engine.parts.networks import longer
from engine.parts.norms import normal

RATE_HZ, SCALE = 22050, 256.0
_POOLS = {1: 8, 2: 8, 5: 4}


def shortest(layers: int = len(SOUNDNET)) -> int:
    """Samples from which on each of the first ``layers`` has a position."""
    need = 1
    for number in range(layers, 0, -1):
        _, kernel, stride, padding = SOUNDNET[number - 1]
        need *= _POOLS.get(number, 1) if number < layers else 1
        need = max(1, (need - 1) * stride + kernel - 2 * padding)
    return need


@dataclass(frozen=True)
class SoundNet:
    """The convolutions up to ``layers`` after their ReLU; ``weights`` are ``soundnet`` or ``random``.

    The view is the waveform at 22 050 Hz, times 256.
    """

    weights: str = "soundnet"
    layers: int = len(SOUNDNET)

    def check(self) -> None:
        """See `engine.parts.features.Needy`."""
        store.check(self.weights)

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Load the weights, or draw them."""
        own = {key: t.to(view) for key, t in store.tensors("soundnet", self.weights, seed).items()}
        return lambda v: self._layers(v, own)

    def _layers(self, view: Tensor, own: Mapping[str, Tensor]) -> list[Maps]:
        values, found = longer(view[:, :, 0], shortest(self.layers)), []
        for number, (_, _, stride, padding) in enumerate(SOUNDNET[: self.layers], 1):
            values = conv1d(values, own[f"conv{number}.weight"], own[f"conv{number}.bias"], stride, padding)
            values = normal(values, own, number, 1e-5).relu()
            found.append(Maps(values[:, :, None], width=0, share=1 / self.layers, name=f"conv{number}"))
            if number in _POOLS and number < self.layers:
                values = max_pool1d(values, _POOLS[number])
        return found
