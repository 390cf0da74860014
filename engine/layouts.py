"""Pretrained networks on paper: the names and shapes of their weights, and the names others give them.

Nothing here imports torch.  A layout is a mapping of our names to shapes as torch wants them (output, input, kernel…);
``adopt`` turns the tensors of a file in anybody's naming into ours, or says what does not fit.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import RecipeError

Arrays = Mapping[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]

#: Convolutions of each of the five blocks, and how many maps they have (Simonyan & Zisserman 2015, D and E).
VGG_BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_MAPS = (64, 128, 256, 512, 512)
#: Maps, kernel, stride and padding of each layer (Aytar, Vondrick & Torralba 2016, the eight-layer network).
SOUNDNET = (
    (16, 64, 2, 32),
    (32, 32, 2, 16),
    (64, 16, 2, 8),
    (128, 8, 2, 4),
    (256, 4, 2, 2),
    (512, 4, 2, 2),
    (1024, 4, 2, 2),
)
#: Kernel and stride of each of the seven layers of 512 maps (Baevski et al. 2020).
WAV2VEC2 = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
#: Blocks and maps of the encoder, the period of its dilations and the width of its code (Engel et al. 2017).
WAVENET_BLOCKS, WAVENET_MAPS, WAVENET_PERIOD, WAVENET_CODE = 30, 128, 10, 16
MUSICNN_MAPS = 128


def vgg_names(depth: int) -> list[str]:
    """The convolutions of a VGG in order: conv1_1 and so on."""
    return [f"conv{block}_{k}" for block, count in enumerate(VGG_BLOCKS[depth], 1) for k in range(1, count + 1)]


def vgg(depth: int) -> dict[str, tuple[int, ...]]:
    """The convolutions of VGG-16 or VGG-19."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for name in vgg_names(depth):
        maps = VGG_MAPS[int(name[4]) - 1]
        shapes |= {f"{name}.weight": (maps, channels, 3, 3), f"{name}.bias": (maps,)}
        channels = maps
    return shapes


def _norm(name: str, maps: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (maps,) for part in ("gamma", "beta", "mean", "variance")}


def musicnn() -> dict[str, tuple[int, ...]]:
    """The five convolutions of the music tagger, each with its normalisation, and that of its input."""
    shapes, channels = _norm("norm0", 1), 1
    for k in range(1, 6):
        shapes |= {f"conv{k}.weight": (MUSICNN_MAPS, channels, 3, 3), f"conv{k}.bias": (MUSICNN_MAPS,)}
        shapes |= _norm(f"norm{k}", MUSICNN_MAPS)
        channels = MUSICNN_MAPS
    return shapes


def soundnet() -> dict[str, tuple[int, ...]]:
    """The seven convolutions of SoundNet-8 with their normalisations, and its two heads."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 1
    for k, (maps, kernel, _, _) in enumerate(SOUNDNET, 1):
        shapes |= {f"conv{k}.weight": (maps, channels, kernel), f"conv{k}.bias": (maps,), **_norm(f"norm{k}", maps)}
        channels = maps
    for head, classes in (("objects", 1000), ("scenes", 401)):
        shapes |= {f"{head}.weight": (classes, channels, 8), f"{head}.bias": (classes,)}
    return shapes


def wav2vec2() -> dict[str, tuple[int, ...]]:
    """The feature extractor of wav2vec2 base: seven convolutions without bias, the first one's maps normalised."""
    shapes: dict[str, tuple[int, ...]] = {"norm0.weight": (512,), "norm0.bias": (512,)}
    for k, (kernel, _) in enumerate(WAV2VEC2):
        shapes[f"conv{k}.weight"] = (512, 512 if k else 1, kernel)
    return shapes


def wavenet() -> dict[str, tuple[int, ...]]:
    """The temporal encoder of NSynth's WaveNet autoencoder."""
    m = WAVENET_MAPS
    shapes: dict[str, tuple[int, ...]] = {"start.weight": (m, 1, 3), "start.bias": (m,)}
    for k in range(1, WAVENET_BLOCKS + 1):
        shapes |= {f"dilated{k}.weight": (m, m, 3), f"dilated{k}.bias": (m,)}
        shapes |= {f"residual{k}.weight": (m, m, 1), f"residual{k}.bias": (m,)}
    return shapes | {"code.weight": (WAVENET_CODE, m, 1), "code.bias": (WAVENET_CODE,)}


def values(shapes: Shapes) -> int:
    """How many numbers there are."""
    return sum(math.prod(shape) for shape in shapes.values())


# Names that others give them --------------------------------------------------------------------------------------


def _vgg_names(found: Arrays, depth: int) -> dict[str, NDArray[np.float32]]:
    if any(name.startswith("VGG16_0/") for name in found):  # flax: HWIO kernels, numbered
        plain = {}
        for number, name in enumerate(vgg_names(depth)):
            plain[f"{name}.weight"] = found[f"VGG16_0/Conv_{number}/kernel"].transpose(3, 2, 0, 1)
            plain[f"{name}.bias"] = found[f"VGG16_0/Conv_{number}/bias"]
        return plain
    if any(name.startswith("features.") for name in found):  # torchvision: numbered with ReLUs and pools between
        numbered = sorted({int(n.split(".")[1]) for n in found if re.fullmatch(r"features\.\d+\.weight", n)})
        # a network with batch normalisation has vectors among its features and another number of them
        return {
            f"{name}.{part}": found[f"features.{index}.{part}"]
            for index, name in zip(numbered, vgg_names(depth), strict=True)
            for part in ("weight", "bias")
        }
    return dict(found)


def _musicnn_names(found: Arrays) -> dict[str, NDArray[np.float32]]:
    if "1CNN/kernel" not in found:
        return dict(found)
    named: dict[str, NDArray[np.float32]] = {}
    for k in range(6):
        norm = "batch_normalization" + (f"_{k}" if k else "")
        others = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
        named |= {f"norm{k}.{ours}": found[f"{norm}/{theirs}"] for ours, theirs in others.items()}
        if k:
            # HWIO with time first; ours have frequency first
            named[f"conv{k}.weight"] = found[f"{k}CNN/kernel"].transpose(3, 2, 1, 0)
            named[f"conv{k}.bias"] = found[f"{k}CNN/bias"]
    return named


def _soundnet_names(found: Arrays) -> dict[str, NDArray[np.float32]]:
    if "conv8_2/weights" not in found:
        return dict(found)
    ours = {"conv8": "objects", "conv8_2": "scenes"}
    parts = {"biases": "bias", "gamma": "gamma", "beta": "beta", "mean": "mean", "var": "variance"}
    named: dict[str, NDArray[np.float32]] = {}
    for name, array in found.items():
        layer, _, part = name.partition("/")
        if part == "weights":  # kernel, 1, inputs, outputs
            named[f"{ours.get(layer, layer)}.weight"] = array[:, 0].transpose(2, 1, 0)
        elif part == "biases":
            named[f"{ours.get(layer, layer)}.bias"] = array
        else:
            named[f"{layer.replace('conv', 'norm')}.{parts[part]}"] = array
    return named


def _wav2vec2_names(found: Arrays) -> dict[str, NDArray[np.float32]]:
    named = {}
    for name, array in found.items():
        plain = name.rpartition("feature_extractor.")[2]
        if (match := re.fullmatch(r"conv_layers\.(\d)\.conv\.weight", plain)) is not None:
            named[f"conv{match[1]}.weight"] = array
        elif (match := re.fullmatch(r"conv_layers\.0\.layer_norm\.(weight|bias)", plain)) is not None:
            named[f"norm0.{match[1]}"] = array
    return named or dict(found)


def _wavenet_names(found: Arrays) -> dict[str, NDArray[np.float32]]:
    if "ae_startconv/W" not in found:
        return dict(found)
    layers = {"ae_startconv": "start", "ae_bottleneck": "code"}
    for k in range(1, WAVENET_BLOCKS + 1):
        layers |= {f"ae_dilatedconv_{k}": f"dilated{k}", f"ae_res_{k}": f"residual{k}"}
    named = {}
    for theirs, ours in layers.items():
        # the moving averages are what NSynth itself decodes with
        average = "/ExponentialMovingAverage" if f"{theirs}/W/ExponentialMovingAverage" in found else ""
        named[f"{ours}.weight"] = found[f"{theirs}/W{average}"][0].transpose(2, 1, 0)  # 1, kernel, inputs, outputs
        named[f"{ours}.bias"] = found[f"{theirs}/biases{average}"]
    return named


@dataclass(frozen=True)
class Layout:
    """A network's ``shapes``, and ``named``: tensors of a file under our names."""

    shapes: Shapes
    named: Callable[[Arrays], Mapping[str, NDArray[np.float32]]]

    def adopt(self, found: Arrays) -> dict[str, NDArray[np.float32]]:
        """The tensors of a file as ours; `RecipeError` where one is missing, of another shape, or not finite."""
        try:
            named = self.named(found)
        except (KeyError, ValueError, IndexError) as error:
            raise RecipeError(f"these are not the weights of this network: {error}") from error
        taken = {}
        for name, shape in self.shapes.items():
            if name not in named:
                raise RecipeError(
                    f"there is no {name} {list(shape)} in it (there are: {', '.join(sorted(found)[:6]) or 'none'}, …)"
                )
            array = np.ascontiguousarray(named[name], dtype=np.float32)
            if array.shape != shape:
                raise RecipeError(f"{name} is {list(array.shape)}; expected {list(shape)}")
            if not np.isfinite(array).all():
                raise RecipeError(f"{name} is not finite; the file is damaged or was never trained to an end")
            taken[name] = array
        return taken


LAYOUTS: Mapping[str, Layout] = {
    "vgg16": Layout(vgg(16), lambda found: _vgg_names(found, 16)),
    "vgg19": Layout(vgg(19), lambda found: _vgg_names(found, 19)),
    "musicnn-msd": Layout(musicnn(), _musicnn_names),
    "musicnn-mtt": Layout(musicnn(), _musicnn_names),
    "soundnet": Layout(soundnet(), _soundnet_names),
    "wav2vec2": Layout(wav2vec2(), _wav2vec2_names),
    "wavenet": Layout(wavenet(), _wavenet_names),
}
