"""The encoder of NSynth's WaveNet autoencoder (Engel et al. 2017), as Mital 2017 takes style from it.

µ-law at 16 kHz, a convolution of three samples, then thirty residual blocks whose dilation doubles ten times and starts
again: every position sees 6 141 samples.  None of it is causal.  The code of 16 numbers every 512 samples is the last
layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool1d, conv1d
from torch.utils.checkpoint import checkpoint

from engine import weights as store
from engine.errors import RecipeError
from engine.layouts import WAVENET_BLOCKS, WAVENET_PERIOD
from engine.parts.features import Maps, Network
from engine.parts.networks import longer

HOP = 512
#: Samples that a position after the last block sees.
REACH = 3 + 2 * sum(2 ** (k % WAVENET_PERIOD) for k in range(WAVENET_BLOCKS))


@dataclass(frozen=True)
class WaveNet:
    """The sum after each of ``blocks`` (1 to 30; 0 is the code); ``weights`` are ``wavenet`` or ``random``.

    The view is `engine.parts.waves.MuLaw`.  What backpropagation needs of a block is computed again and not kept, which
    is a third more work and a quarter of the memory.
    """

    weights: str = "wavenet"
    blocks: tuple[int, ...] = (1, 5)

    def __post_init__(self) -> None:
        for block in self.blocks:
            if not 0 <= block <= WAVENET_BLOCKS:
                raise RecipeError(f"there is no block {block}; expected 1 to {WAVENET_BLOCKS}, or 0 for the code")

    def check(self) -> None:
        """See `engine.parts.features.Needy`."""
        store.check(self.weights)

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Load the weights, or draw them."""
        own = {key: t.to(view) for key, t in store.tensors("wavenet", self.weights, seed).items()}
        return lambda v: self._layers(v, own)

    def _layers(self, view: Tensor, own: Mapping[str, Tensor]) -> list[Maps]:
        values = conv1d(longer(view[:, :, 0], HOP), own["start.weight"], own["start.bias"], padding=1)
        found: dict[int, Tensor] = {}
        for number in range(1, (WAVENET_BLOCKS if 0 in self.blocks else max(self.blocks)) + 1):
            values = (
                checkpoint(_block, values, own, number, use_reentrant=False)
                if values.requires_grad
                else _block(values, own, number)
            )
            found[number] = values
        if 0 in self.blocks:
            found[0] = avg_pool1d(conv1d(values, own["code.weight"], own["code.bias"]), HOP)
        share = 1 / len(self.blocks)
        return [Maps(found[b][:, :, None], width=0, share=share, name=f"block{b}") for b in self.blocks]


def _block(values: Tensor, own: Mapping[str, Tensor], number: int) -> Tensor:
    dilation = 2 ** ((number - 1) % WAVENET_PERIOD)
    inner = conv1d(values.relu(), own[f"dilated{number}.weight"], own[f"dilated{number}.bias"], 1, dilation, dilation)
    out: Tensor = values + conv1d(inner.relu(), own[f"residual{number}.weight"], own[f"residual{number}.bias"])
    return out
