"""Image networks on spectrograms: VGG-16 and VGG-19 (Gatys, Ecker & Bethge 2016), and the VGG of a music tagger.

A view has frequency up and time to the right, as the pictures the networks were trained on have their axes.  Differs
from the networks as trained in two ways: borders repeat their last row and column and not zeros, which after the
images' mean is taken are a level amid the range; and pools may take the mean, as Gatys et al. prefer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from engine import weights as store
from engine.errors import RecipeError
from engine.layouts import VGG_BLOCKS, vgg_names
from engine.parts.features import Maps, Network
from engine.parts.networks import longer
from engine.parts.norms import normal

#: Mean and deviation of the images of ImageNet, which torchvision's networks expect taken away and divided by.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Of the tagger's normalisations, as TensorFlow has it.
_EPS = 1e-3
POOLS: Mapping[str, Callable[..., Tensor]] = {"avg": avg_pool2d, "max": max_pool2d}


def _pooled(pool: str, values: Tensor, size: tuple[int, int]) -> Tensor:
    return POOLS[pool](values, size, 2)


def _filtered(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return conv2d(pad(values, (1, 1, 1, 1), mode="replicate"), weight, bias)


def _large(view: Tensor, size: int) -> Tensor:
    """``view`` with silence beyond its end and its top where it has fewer than ``size`` frames or rows to halve."""
    low = size - view.shape[2]
    return pad(longer(view, size), (0, 0, 0, low)) if low > 0 else longer(view, size)


def _unknown(layers: tuple[str, ...], names: list[str]) -> None:
    for layer in layers:
        if layer not in names:
            raise RecipeError(f"there is no layer {layer!r} (there are: {', '.join(names)})")


@dataclass(frozen=True)
class Vgg:
    """``layers`` of VGG-``depth`` after their ReLU, the view copied to three colours.

    ``weights`` are ``vgg16``, ``vgg19`` or ``random`` (see `engine.weights`), and ``pool`` is ``avg`` or ``max``.
    """

    depth: int = 19
    weights: str = "vgg19"
    layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1")
    pool: str = "avg"

    def __post_init__(self) -> None:
        _unknown(self.layers, vgg_names(self.depth))

    def check(self) -> None:
        """See `engine.parts.features.Needy`."""
        store.check(self.weights)

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Load the weights, or draw them."""
        tensors = store.tensors(f"vgg{self.depth}", self.weights, seed)
        last = max(map(vgg_names(self.depth).index, self.layers))
        used = vgg_names(self.depth)[: last + 1]
        own = {key: tensors[key].to(view) for name in used for key in (f"{name}.weight", f"{name}.bias")}
        mean, deviation = (view.new_tensor(v)[:, None, None] for v in (_MEAN, _DEVIATION))
        return lambda v: self._layers((self._padded(v).expand(-1, 3, -1, -1) - mean) / deviation, own)

    def _padded(self, view: Tensor) -> Tensor:
        return _large(view, 2 ** (len(VGG_BLOCKS[self.depth]) - 1))

    def _layers(self, values: Tensor, own: Mapping[str, Tensor]) -> list[Maps]:
        block, reach, stride, before, found = 1, 1, 1, 0, []
        for name in vgg_names(self.depth):
            if f"{name}.weight" not in own:
                break
            if int(name[4]) != block:
                block, values = block + 1, _pooled(self.pool, values, (2, 2))
                reach, stride = reach + stride, stride * 2
            values = _filtered(values, own[f"{name}.weight"], own[f"{name}.bias"]).relu()
            reach, before = reach + 2 * stride, before + stride
            if name in self.layers:
                found.append(Maps(values, reach, stride, before, name=name))
        return found


@dataclass(frozen=True)
class Musicnn:
    """``layers`` of the VGG of Pons & Serra 2019, five convolutions trained to tag music, after their normalisation.

    ``weights`` are ``musicnn-msd``, ``musicnn-mtt`` or ``random``; the view is `engine.parts.mels.LogMel`.
    """

    weights: str = "musicnn-msd"
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5")
    pool: str = "max"

    def __post_init__(self) -> None:
        _unknown(self.layers, [f"conv{k}" for k in range(1, 6)])

    def check(self) -> None:
        """See `engine.parts.features.Needy`."""
        store.check(self.weights)

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Load the weights, or draw them."""
        own = {key: t.to(view) for key, t in store.tensors("musicnn-msd", self.weights, seed).items()}
        return lambda v: self._layers(v, own)

    def _layers(self, view: Tensor, own: Mapping[str, Tensor]) -> list[Maps]:
        values = normal(_large(view, 32), own, 0, _EPS)
        reach, stride, before, found = 1, 1, 0, []
        for number in range(1, 6):
            values = _filtered(values, own[f"conv{number}.weight"], own[f"conv{number}.bias"]).relu()
            values = normal(values, own, number, _EPS)
            reach, before = reach + 2 * stride, before + stride
            name = f"conv{number}"
            if name in self.layers:
                found.append(Maps(values, reach, stride, before, name=name))
            # the first pool sees four frames of one band each
            wide = 4 if number == 1 else 2
            if number < 5:
                values = _pooled(self.pool, values, (1 if number == 1 else 2, wide))
                reach, stride = reach + (wide - 1) * stride, stride * 2
        return found
