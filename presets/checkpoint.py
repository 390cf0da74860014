"""A training's state in a file: all tensors the next step depends on, and what they are the state of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from presets import atomic, tensorfile
from presets.cards import Digest, Line
from presets.errors import PresetError

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "gramophone-training"


class Told(BaseModel):
    """The losses at a step: means over the steps since the one told before."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    step: int = Field(ge=0)
    losses: dict[str, float]


class Record(BaseModel):
    """What a checkpoint is of: the two sets, the plan, and the losses so far."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: int = 1
    version: Line
    content: Digest
    style: Digest
    plan: dict[str, float | int | bool]
    history: list[Told]


@dataclass(frozen=True)
class Checkpoint:
    """A state with its record; from the same state on the same steps follow."""

    record: Record
    tensors: "dict[str, Tensor]" = field(repr=False)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Put ``checkpoint`` at ``path`` in place of what is there, whole or not at all."""
    blob = safetensors.torch.save(checkpoint.tensors)
    header = tensorfile.parse(blob)
    said = {_KEY: checkpoint.record.model_dump_json()}
    atomic.write(path, [tensorfile.with_metadata(header, said), memoryview(blob)[header.data_start :]], replace=True)


def load(path: Path) -> Checkpoint:
    """The checkpoint at ``path``; `PresetError` when it is missing, broken, or of another format."""
    try:
        header, blob = tensorfile.read(path)
        text = header.metadata.get(_KEY)
        if text is None:
            raise PresetError("is not a training's checkpoint")
        record = Record.model_validate_json(text)
        if record.format != 1:
            raise PresetError(f"is a checkpoint of format {record.format}; this Gramophone reads format 1: update it")
        return Checkpoint(record, dict(safetensors.torch.load(blob)))
    except PresetError as error:
        raise PresetError(f"{path} {error}") from error
    except (ValidationError, SafetensorError, ValueError, RuntimeError) as error:
        raise PresetError(f"{path} is a broken checkpoint: {str(error).splitlines()[0]}") from error


def differences(found: Record, wanted: Record) -> list[str]:
    """What keeps a training from going on where ``found`` left off, in words; nothing when it can."""
    told = [f"the {side} set" for side in ("content", "style") if getattr(found, side) != getattr(wanted, side)]
    for name, value in wanted.plan.items():
        if found.plan.get(name) != value:
            told.append(f"{name} (was {found.plan.get(name)}, now {value})")
    return told


def plan_record(plan: Any) -> dict[str, float | int | bool]:
    """A `engine.travelgan.training.Plan` as its record has it."""
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}
