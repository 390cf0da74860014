"""A preset in memory and in its file ``NAME.gram.safetensors``: tensors and one JSON record, never a pickle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from engine import recipes
from engine.errors import RecipeError
from engine.style import Target
from presets import atomic, cards, names, tensorfile
from presets.cards import BlendPart, Card, Reference, Training
from presets.errors import PresetError
from presets.version import gramophone_version

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock in UTC; tests hand in another."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Preset:
    """A learnt style with its name and card; recipe, parameters and rate are the same in ``target`` and ``card``."""

    name: str
    target: Target
    card: Card

    @property
    def content_hash(self) -> str:
        """The digest of what a render's sound depends on; see `Card.content_hash`."""
        return self.card.content_hash


def new(
    name: str,
    target: Target,
    *,
    references: Sequence[Reference] = (),
    loudness_dbfs: float | None = None,
    amount: float = 1.0,
    chain: Sequence[Mapping[str, Any]] = (),
    licence: str = "",
    learn_key: str | None = None,
    blend_of: Sequence[BlendPart] = (),
    training: Training | None = None,
    clock: Clock = utc_now,
) -> Preset:
    """A preset of ``target`` with a fresh card; `PresetError` when a tensor is not finite or a field out of range."""
    blob = _tensor_bytes(target)
    card = cards.make(
        recipe=target.recipe,
        params=dict(target.params),
        rate=target.rate,
        references=tuple(references),
        loudness_dbfs=loudness_dbfs,
        created_by=gramophone_version(),
        created=clock().isoformat(timespec="seconds"),
        licence=licence,
        amount=amount,
        chain=tuple(dict(entry) for entry in chain),
        learn_key=learn_key,
        blend_of=tuple(blend_of),
        training=training,
        tensors_sha256=tensorfile.sha256(tensorfile.parse(blob), blob),
    )
    return Preset(names.validated(name), target, card)


def save(preset: Preset, path: Path, *, replace: bool = False) -> None:
    """Write ``preset`` to ``path``, whole or not at all; `PresetError` when the file exists and may not be replaced."""
    blob = _tensor_bytes(preset.target)
    header = tensorfile.parse(blob)
    if tensorfile.sha256(header, blob) != preset.card.tensors_sha256:
        raise PresetError(f"preset {preset.name!r} changed after its card was made; make a new one of its target")
    pieces: list[atomic.Bytes] = [
        tensorfile.with_metadata(header, cards.dump(preset.card)),
        memoryview(blob)[header.data_start :],
    ]
    atomic.write(path, pieces, replace=replace)


def load(path: Path) -> Preset:
    """The preset in the file at ``path``, every byte of its tensors checked against its card.

    Raises `PresetError`, and nothing else, for a file that is missing, truncated, corrupt, of another format,
    made with an unknown recipe or parameters out of its range, or holding a number that is not finite.
    """
    try:
        header, blob = tensorfile.read(path)
        card = cards.verified(header, blob)
        recipe = recipes.find(card.recipe)
        recipe.check({name: value for name, value in card.params.items() if name in recipe.choices})
        tensors = dict(sorted(safetensors.torch.load(blob).items()))  # the reader's own order is another every time
    except PresetError as error:
        raise PresetError(f"{path} {error}") from error
    except RecipeError as error:
        raise PresetError(f"{path} cannot be used here: {error}") from error
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise PresetError(f"{path} has a corrupt tensor: {error}") from error
    _check_finite(tensors, str(path))
    return Preset(names.from_path(path), Target(card.recipe, card.params, card.rate, tensors), card)


def _tensor_bytes(target: Target) -> bytes:
    _check_finite(target.tensors, "the target")
    # A fresh copy of each: safetensors refuses views that share memory.
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in target.tensors.items()}
    return safetensors.torch.save(plain)


def _check_finite(tensors: Mapping[str, torch.Tensor], owner: str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and (bad := int((~torch.isfinite(tensor)).sum())):
            raise PresetError(f"{owner} has {bad} values in tensor {name!r} that are NaN or infinite; learn it again")
