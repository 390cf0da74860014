"""The ``preset`` commands: learn, train, list, show, blend, remove, path. What weighs is imported inside them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="preset",
    help="Learn sounds as presets, and keep, blend and look at them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_BLEND_HELP = "A preset, a preset file, or a blend like tape:0.7,choir:0.3."
LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library", help="The folder presets live in. \\[default: $GRAMOPHONE_LIBRARY, or the user's data folder]"
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Overwrite what is there.")]
NameOption = Annotated[str, typer.Option("--name", "-n", help="What to call the preset.")]
AmountOption = Annotated[
    float | None,
    typer.Option(help="The amount a render uses by default, 0 (the stem itself) to 1.", show_default=False),
]
ChainOption = Annotated[
    Path | None, typer.Option(help="A TOML file of [\\[chain]] tables: the chain a render uses by default.")
]
LicenceOption = Annotated[str | None, typer.Option(help="A note on the references' licence, kept in the card.")]


@app.command()
def learn(
    references: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.", show_default=False)],
    name: NameOption,
    recipe: Annotated[str, typer.Option(help="The recipe to learn for.")] = "kernel",
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="A parameter of the recipe, KEY=VALUE with VALUE in JSON; repeatable."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(help="Hz to learn at. \\[default: the references', within 44100 and 48000]")
    ] = None,
    listen: Annotated[
        float, typer.Option(help="Learn from at most this many seconds, spread evenly over the references.")
    ] = 300.0,
    amount: AmountOption = None,
    chain: ChainOption = None,
    licence: LicenceOption = None,
    library: LibraryOption = None,
    replace: ReplaceOption = False,
    again: Annotated[bool, typer.Option("--again", help="Learn anew even what is in the library.")] = False,
    debug: DebugOption = False,
) -> None:
    """Learn the sound of the references as a preset. Learning the same twice is instant."""
    with _reporting(debug):
        from presets import listing
        from presets.learn import Defaults, ensure, request
        from presets.library import default_library

        started, err, kept = time.perf_counter(), _console(stderr=True), default_library(library)

        def tell(event: Any) -> None:
            if line := listing.event_line(event):
                err.print(line, soft_wrap=True)

        defaults = Defaults(amount, _chain(chain), licence)
        wanted = request(references, recipe=recipe, params=_params(param), rate=rate, listen_s=listen, on_event=tell)
        entry, cached = ensure(wanted, name, kept, defaults=defaults, replace=replace, again=again, on_event=tell)
        took = time.perf_counter() - started
        verb = "already learnt" if cached else "learnt"
        _console().print(f"{verb} {entry.name!r} in {took:.3g} s: {entry.path}", soft_wrap=True, markup=False)


@app.command()
def train(
    content: Annotated[
        list[Path], typer.Option(help="A folder of what stems sound like, or a file; repeatable.", show_default=False)
    ],
    style: Annotated[
        list[Path], typer.Option(help="A folder of what they should sound like; repeatable.", show_default=False)
    ],
    name: NameOption,
    steps: Annotated[int, typer.Option(help="Batches to train for, those before --resume counted.")] = 20_000,
    batch: Annotated[int, typer.Option(help="Crops in a batch.")] = 16,
    pieces: Annotated[int, typer.Option(help="Pieces of 2 s in a crop: 3 or 2.")] = 3,
    filters: Annotated[int, typer.Option(help="Filters of the generator's layers; fewer train faster.")] = 256,
    seed: Annotated[int, typer.Option(help="What every random choice depends on.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    mixed: Annotated[
        bool | None,
        typer.Option("--mixed/--exact", help="Products in bfloat16. \\[default: on a GPU]", show_default=False),
    ] = None,
    every: Annotated[int, typer.Option(help="Steps after which the state is kept and looked at.")] = 500,
    preview: Annotated[
        Path | None, typer.Option(help="A stem to play through what there is each time.", show_default=False)
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap/--end-to-end", help="How pieces are put together when the preset plays.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training of that name.")] = False,
    rate: Annotated[
        int | None, typer.Option(help="Hz of the preset. \\[default: the style's, within 44100 and 48000]")
    ] = None,
    amount: AmountOption = None,
    chain: ChainOption = None,
    licence: LicenceOption = None,
    library: LibraryOption = None,
    replace: ReplaceOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a preset between two sets of sounds: hours once, then it plays in no time. Stop it with Ctrl-C."""
    with _reporting(debug):
        from engine import device as devices
        from engine.travelgan.training import Plan
        from presets import training
        from presets.learn import Defaults
        from presets.library import default_library
        from presets.traindraw import drawing, stopping

        bfloat16 = devices.pick(device).type == "cuda" if mixed is None else mixed
        plan = Plan(batch=batch, pieces=pieces, filters=filters, seed=seed, mixed=bfloat16)
        defaults = Defaults(amount, _chain(chain), licence)
        wanted = training.Request(content, style, name, plan, steps, every, device, rate, preview, overlap, defaults)
        kept = default_library(library)
        with drawing(_console(stderr=True)) as tell, stopping() as stop:
            preset = training.train(wanted, kept, resume=resume, replace=replace, on_event=tell, stop=stop)
        if preset is None:
            raise typer.Exit(130)
        _console().print(f"trained {preset.name!r}: {kept.path(preset.name)}", soft_wrap=True, markup=False)


@app.command("list")
def list_presets(library: LibraryOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the presets of the library, broken files with what is wrong with them."""
    with _reporting(debug):
        from presets import listing
        from presets.library import default_library

        kept = default_library(library)
        entries = kept.list()
        if as_json:
            typer.echo(json.dumps([listing.entry_record(entry) for entry in entries], indent=2))
        else:
            listing.print_entries(_console(), entries, kept)


@app.command()
def show(
    preset: Annotated[str, typer.Argument(help=_BLEND_HELP)],
    picture: Annotated[Path | None, typer.Option(help="Save a PNG of the preset here.")] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
    replace: ReplaceOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a preset's card, its file checked byte by byte; --picture saves how it looks."""
    with _reporting(debug):
        from presets import atomic, listing, resolve
        from presets.library import default_library, inspect

        spec, kept = resolve.parse(preset), default_library(library)
        file = resolve.file_of(spec.parts[0], kept) if len(spec.parts) == 1 else None
        loaded = resolve.load_blend(spec, kept) if picture or not file else None
        header, card = inspect(file) if file else (None, loaded.card if loaded else None)
        assert card is not None
        if picture and loaded:
            from presets.picture import preset_png

            atomic.write(picture, [preset_png(loaded)], replace=replace)
        if as_json:
            typer.echo(json.dumps(listing.card_record(spec.label, card, header, file), indent=2))
        else:
            listing.print_card(_console(), spec.label, card, header, file)
            if picture:
                _console().print(f"picture: {picture}", soft_wrap=True, markup=False)


@app.command()
def blend(
    parts: Annotated[
        list[str], typer.Argument(help="Presets with weights: tape:0.7 choir:0.3, or tape:0.7,choir:0.3.")
    ],
    name: NameOption,
    amount: AmountOption = None,
    chain: ChainOption = None,
    licence: LicenceOption = None,
    library: LibraryOption = None,
    replace: ReplaceOption = False,
    debug: DebugOption = False,
) -> None:
    """Keep a blend of presets as a preset of its own."""
    with _reporting(debug):
        from presets import names, resolve
        from presets.learn import Defaults
        from presets.library import default_library, inspect

        kept, spec = default_library(library), resolve.parse(",".join(parts))
        defaults = Defaults(amount, _chain(chain), licence)
        mixed = resolve.blended(spec, names.validated(name), kept, defaults=defaults.fields())
        if not mixed.card.chain and any(inspect(resolve.file_of(part, kept))[1].chain for part in spec.parts):
            note = "note: the presets have different chains, so the blend has none; --chain FILE gives it one"
            _console(stderr=True).print(note, style="yellow", soft_wrap=True)
        path = kept.save(mixed, replace=replace)
        shares = ", ".join(f"{part.name} {part.weight:.0%}" for part in mixed.card.blend_of)
        _console().print(f"kept {name!r}, {shares}: {path}", soft_wrap=True, markup=False)


@app.command()
def remove(
    presets: Annotated[list[str], typer.Argument(help="Names of presets in the library.")],
    library: LibraryOption = None,
    debug: DebugOption = False,
) -> None:
    """Remove presets from the library: all of those named, or none when one is not there."""
    with _reporting(debug):
        from presets.library import default_library

        kept = default_library(library)
        for name in dict.fromkeys(presets):
            kept.find(name)
        for name in dict.fromkeys(presets):
            _console().print(f"removed {kept.remove(name)}", soft_wrap=True, markup=False)


@app.command()
def path(
    preset: Annotated[str | None, typer.Argument(help="A preset's name; without it, the library's folder.")] = None,
    library: LibraryOption = None,
    debug: DebugOption = False,
) -> None:
    """Print where the library, or a preset of it, is."""
    with _reporting(debug):
        from presets.library import default_library

        kept = default_library(library)
        typer.echo(kept.find(preset) if preset else kept.folder)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def _reporting(debug: bool) -> Iterator[None]:
    """One red line and exit code 2 for every mistake a user can make; the trace with ``debug``."""
    from engine.errors import EngineError
    from presets import listing
    from presets.errors import PresetError

    try:
        yield
    except (PresetError, EngineError) as error:
        if debug:
            raise
        _console(stderr=True).print(listing.error_line(error), soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if debug:
            raise
        _console(stderr=True).print("interrupted; nothing was kept", style="yellow")
        raise typer.Exit(130) from None


def _chain(file: Path | None) -> list[dict[str, Any]] | None:
    from presets import chainfile

    return None if file is None else chainfile.read(file)


def _params(given: list[str] | None) -> dict[str, Any]:
    from presets.errors import PresetError

    params: dict[str, Any] = {}
    for item in given or ():
        key, equals, value = item.partition("=")
        try:
            if not equals or not key.strip():
                raise ValueError("no KEY=")
            params[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            raise PresetError(
                f"--param {item!r} is not KEY=VALUE with VALUE in JSON, like --param frames=2000"
            ) from None
    return params
