"""What the preset commands draw: cards, listings and one-line messages, as rich text or as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from presets import cards, names
from presets.cards import Card
from presets.events import (
    Event,
    PresetSaved,
    ReferenceRead,
    ReferenceSkipped,
    SetHeard,
    Stepped,
    TargetStarted,
    TrainingLooked,
    TrainingStarted,
    TrainingStopped,
)
from presets.library import Entry, Library
from presets.tensorfile import Header


def error_line(error: Exception) -> Text:
    """The one red line an error becomes, whatever its message holds."""
    message = " ".join(names.printable(line.strip()) for line in str(error).splitlines())
    return Text.assemble(("error: ", "bold red"), (message, "red"))


def event_line(event: Event) -> Text | None:
    """What is said of an event while learning; None for one that needs no words."""
    match event:
        case ReferenceSkipped(name, reason):
            return Text(names.printable(f"skipped {name}: {reason}"), style="yellow")
        case ReferenceRead(index, count, name, duration_s, used_s):
            part = "" if used_s > duration_s - 0.05 else f", learning from {used_s:.1f} s of it"
            return Text(f"reference {index + 1}/{count}: {name} ({duration_s:.1f} s{part})", style="dim")
        case TargetStarted(recipe, seconds):
            return Text(f"learning {seconds:.1f} s with {recipe} …", style="dim")
        case SetHeard(side, files, seconds, enough):
            more = "" if enough else "; ten minutes or more would sound better"
            of = f"{files} file{'' if files == 1 else 's'}"
            return Text(f"{side}: {seconds / 60:.1f} min in {of}{more}", style="" if enough else "yellow")
        case TrainingStarted(done, steps, device):
            return Text(f"{f'going on after step {done}' if done else 'training'} to step {steps} on {device} …")
        case TrainingLooked(step, picture, played):
            also = f", heard in {names.printable(played.name)}" if played else ""
            return Text(f"step {step}: kept; seen in {names.printable(str(picture))}{also}", style="dim")
        case TrainingStopped(step, steps, folder):
            where = names.printable(str(folder))
            return Text(f"stopped after step {step} of {steps}; --resume goes on from {where}", style="yellow")
        case PresetSaved() | Stepped():
            return None


def print_entries(console: Console, entries: Sequence[Entry], library: Library) -> None:
    """A table of the library, or where it is when it holds nothing."""
    if not entries:
        console.print(Text(f"no presets in {names.printable(str(library.folder))}"), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "from", "recipe", "rate", "amount", "chain", "size", "made"):
        table.add_column(column, justify="right" if column in ("rate", "amount", "size") else "left")
    for entry in entries:
        name, size = Text(entry.name, style="bold" if entry.card else "red"), _size(entry.size_bytes)
        if entry.card is None:
            table.add_row(
                name, Text(f"broken: {names.printable(entry.problem or '')}", style="red"), *[""] * 4, size, ""
            )
            continue
        facts = dict(cards.summary(entry.card))
        row = [facts["from"], facts["recipe"], facts["rate"], facts["amount"], facts["chain"], size, facts["made"][:10]]
        table.add_row(name, *(Text(cell) for cell in row))
    console.print(table)


def print_card(console: Console, name: str, card: Card, header: Header | None, file: Path | None) -> None:
    """Everything there is to say of one preset; a blend that is not kept has neither header nor file."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, words in cards.summary(card):
        table.add_row(label, Text(words))
    for index, reference in enumerate(card.references):
        table.add_row(
            "" if index else "references",
            Text(
                f"{reference.name}  {reference.duration_s:.1f} s, {reference.channels} ch, {reference.rate} Hz, "
                f"sha256 {reference.sha256[:12]}…"
            ),
        )
    for key, value in card.params.items():
        table.add_row("params", Text(names.printable(f"{key} = {json.dumps(value)}")))
    if header:
        for spec in header.tensors:
            table.add_row(
                "tensor", Text(f"{spec.name}  {spec.dtype} {list(spec.shape)}, {_size(spec.stop - spec.start)}")
            )
    table.add_row("content", Text(f"{card.content_hash[:16]}…"))
    table.add_row("kept", Text(names.printable(str(file)) if file else "nowhere: a blend made on the spot"))
    console.print(Text(name, style="bold"))
    console.print(table)


def entry_record(entry: Entry) -> dict[str, Any]:
    """What ``list --json`` says of one preset."""
    return {
        "name": entry.name,
        "path": str(entry.path),
        "bytes": entry.size_bytes,
        "problem": entry.problem,
        "content_hash": entry.card.content_hash if entry.card else None,
        "card": entry.card.model_dump(mode="json") if entry.card else None,
    }


def card_record(name: str, card: Card, header: Header | None, file: Path | None) -> dict[str, Any]:
    """What ``show --json`` says of one preset; a blend that is not kept has neither path nor tensors listed."""
    return {
        "name": name,
        "path": str(file) if file else None,
        "content_hash": card.content_hash,
        "tensors": [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in header.tensors]
        if header
        else [],
        "card": card.model_dump(mode="json"),
    }


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
