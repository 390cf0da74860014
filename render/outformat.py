"""The format of an output: the stem's own, unless the template's ending or a choice asks for another."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.audio import Info
from engine.errors import AudioError
from engine.formats import SUFFIXES, Format, output_format
from render.choices import Layer, chosen
from render.destination import Destination
from render.errors import InputError, Mistake, found


def decide(layers: Sequence[Layer], where: Destination, info: Info, file: str) -> tuple[Format, Destination]:
    """The format for the stem ``info``, and ``where`` with the template's ending gone when a typed format wins over it.

    Raises `InputError` with one mistake when ending and format disagree or the container cannot hold the depth;
    ``file`` is where the stem was asked for.
    """
    form, form_layer = chosen(layers, "format")
    depth, depth_layer = chosen(layers, "bit_depth")
    ending = where.template.container
    container = None if form in (None, "source") else str(form).upper()
    if form_layer is not None and ending is not None:
        if form_layer.is_command_line and where.key != "--out":
            where = replace(where, template=replace(where.template, suffix=""))
            ending = None
        elif container is None or container != ("WAV" if ending == "RF64" else ending):
            message = f"found {found(form)}, but outputs end in {where.template.suffix}; leave out one of the two"
            raise InputError([Mistake(form_layer.file, form_layer.key("format"), message)])
    try:
        return output_format(info.format, ending or container, None if depth == "source" else depth), where
    except AudioError as error:
        layer, name = (depth_layer, "bit_depth") if depth_layer else (form_layer, "format")
        mistake = Mistake(layer.file, layer.key(name), str(error)) if layer else Mistake(file, "", str(error))
        raise InputError([mistake]) from error


def suffix(form: Format, stem: Path) -> str:
    """The ending that goes with ``form``, spelt as the stem's own is when that fits."""
    own = stem.suffix.lower()
    return own if SUFFIXES.get(own) == form.container else form.suffix


def notes(source: Format, form: Format, layers: Sequence[Layer]) -> list[str]:
    """What happens to the depth without having been asked for."""
    if form.subtype == source.subtype or chosen(layers, "bit_depth")[0] not in (None, "source"):
        return []
    return [f"{source.container} {source.subtype} goes into {form.container} as {form.subtype}"]
