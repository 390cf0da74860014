"""The ``render`` and ``demo`` commands. What weighs is imported inside them."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from render.delivery import Wish
    from render.events import AlbumDone, Event, OnEvent
    from render.plan import Plan

app = typer.Typer(
    name="render",
    help="Play stems and albums through presets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

QualityOption = Annotated[str | None, typer.Option("--quality", "-q", help="draft, standard or fine.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write events as JSON lines on stdout.")]


@app.callback()
def _houses() -> None:
    """Play stems and albums through presets."""


@app.command()
def render(
    stems: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, or one album manifest (.toml).", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="A preset, a preset file, or a blend like tape:0.7,choir:0.3.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A file, a folder, or a template with {stem} {preset} {index} … in it."),
    ] = None,
    amount: Annotated[float | None, typer.Option(help="0 is the stem itself, 1 the full style.")] = None,
    mix: Annotated[float | None, typer.Option(help="0 is dry, 1 is wet; the chain comes after.")] = None,
    quality: QualityOption = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same bytes.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    bit_depth: Annotated[str | None, typer.Option(help="source, 16, 24 or 32f.")] = None,
    format: Annotated[str | None, typer.Option("--format", "-f", help="source, wav, aiff or flac.")] = None,
    overs: Annotated[
        str | None, typer.Option(help="limit, scale or refuse what is over full scale in 16 or 24 bits.")
    ] = None,
    tail_s: Annotated[
        str | None, typer.Option(help="Seconds kept after the end while the chain rings out; auto: until it is quiet.")
    ] = None,
    tempo: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="MIDI file of bars and markers. \\[default: the one beside a stem]"),
    ] = None,
    loudness_lufs: Annotated[
        float | None,
        typer.Option(help="Loudness of the outputs, as far as the ceiling lets it. \\[default: as it comes]"),
    ] = None,
    ceiling_dbtp: Annotated[
        float | None, typer.Option(help="True peak no output passes. \\[default: -1 with a loudness, else none]")
    ] = None,
    chain: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file of [\\[chain]] tables to play, no others.")
    ] = None,
    no_chain: Annotated[bool, typer.Option("--no-chain", help="Leave all chains out.")] = False,
    export: Annotated[
        str | None, typer.Option("--export", help="Sessions to write beside the outputs: dawproject,rpp,midi,aaf.")
    ] = None,
    export_originals: Annotated[
        bool | None,
        typer.Option("--export-originals/--no-export-originals", help="Put the stems into the sessions too, muted."),
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option("--report/--no-report", help="Write a page that tells and plays it all. \\[default: for albums]"),
    ] = None,
    library: Annotated[
        Path | None,
        typer.Option(help="The folder presets live in. \\[default: $GRAMOPHONE_LIBRARY, or the user's data folder]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that were made otherwise.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; write nothing.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, max=64, help="Stems side by side. \\[default: 1 on a CPU, 8 on a GPU]"),
    ] = None,
    as_json: JsonOption = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the manifest's JSON Schema and stop.")] = False,
    debug: DebugOption = False,
) -> None:
    """Render stems through a preset, or a whole album from its manifest.

    Options win over the manifest. What is already rendered from the same inputs is skipped; nothing else is overwritten
    without --overwrite. Exit codes: 0 all done, 1 some stems failed, 2 bad input, 130 interrupted.
    """
    if schema:
        import json

        from render.schema import manifest_schema

        typer.echo(json.dumps(manifest_schema(), indent=2, ensure_ascii=False))
        return
    with _reporting(debug):
        from presets.library import default_library
        from render.choices import Choices
        from render.planner import plan_album, plan_stems

        given = list(stems or ())
        sound = (preset, amount, mix, quality, seed, device, bit_depth, format, overs, _seconds(tail_s), tempo)
        choices = Choices(*sound, loudness_lufs, ceiling_dbtp)
        shelf = default_library(library)
        wish = _wish(export, export_originals, report)
        _either_chain(chain, no_chain)
        with_chain = not no_chain
        if album := _album(given):
            plan = plan_album(
                album,
                library=shelf,
                choices=choices,
                out=out,
                overwrite=overwrite,
                with_chain=with_chain,
                chain=chain,
                wish=wish,
            )
        else:
            plan = plan_stems(
                given,
                library=shelf,
                choices=choices,
                out=out,
                overwrite=overwrite,
                with_chain=with_chain,
                chain=chain,
                wish=wish,
            )
        if dry_run:
            raise typer.Exit(_show_plan(plan, as_json))
        raise typer.Exit(_run(plan, jobs, as_json, debug))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, or an earlier demo's.")] = Path("demo"),
    quality: QualityOption = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page when it is done.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make stems and sounds, learn three presets, render an album and write a page to hear it all on."""
    with _reporting(debug):
        from render import demo as demonstration

        err = _console(stderr=True)

        def step(line: str) -> None:
            err.print(line, soft_wrap=True, markup=False)

        with _terminable(), _watching(as_json) as (tell, events):
            result = demonstration.run(
                folder, quality=quality or "standard", seed=seed, device=device, on_event=tell, on_step=step
            )
        code = _finish(result.done, events, as_json, debug)
        if not result.done.interrupted:
            step(f"Listen: {result.page.resolve()}")
            if open_browser:
                typer.launch(result.page.resolve().as_uri())
        raise typer.Exit(code)


def _album(given: list[Path]) -> Path | None:
    from render.errors import InputError, Mistake

    if not given:
        raise InputError([Mistake("", "STEM", "none is given; expected audio files, or one album manifest (.toml)")])
    albums = [path for path in given if path.suffix.lower() == ".toml"]
    if albums and len(given) > 1:
        message = f"found {len(given)} arguments; expected one album manifest alone, or stems alone"
        raise InputError([Mistake("", str(albums[0]), message)])
    return albums[0] if albums else None


def _either_chain(file: Path | None, left_out: bool) -> None:
    from render.errors import InputError, Mistake

    if file is not None and left_out:
        raise InputError([Mistake("", "--chain", "found beside --no-chain; expected one of the two")])


def _seconds(text: str | None) -> float | str | None:
    """``text`` as a number where it is one; whether it is in range, or a word that means something, is seen later."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _wish(export: str | None, originals: bool | None, report: bool | None) -> "Wish":
    from render.delivery import Wish, kinds
    from render.errors import InputError

    found, mistakes = (None, []) if export is None else kinds(export)
    if mistakes:
        raise InputError(mistakes)
    return Wish(found, originals, report, of_albums=True)


def _show_plan(plan: "Plan", as_json: bool) -> int:
    from render.tables import plan_lines, plan_records, plan_table

    if as_json:
        from render.progress import JsonLines

        lines = JsonLines(sys.stdout)
        for record in plan_records(plan):
            lines.record(record)
    else:
        console = _console()
        console.print(plan_table(plan))
        for line in plan_lines(plan):
            console.print(line, soft_wrap=True, markup=False)
    return 1 if plan.unreadable else 0


def _run(plan: "Plan", jobs: int | None, as_json: bool, debug: bool) -> int:
    from dataclasses import replace

    from render.batch import run
    from render.events import AlbumDone

    with _terminable(), _watching(as_json) as (tell, events):

        def stems(event: "Event") -> None:
            # That all is done is the last word, after sessions and report.
            if not isinstance(event, AlbumDone):
                tell(event)

        done = run(plan, on_event=stems, side_by_side=jobs)
        if plan.delivery and not done.interrupted:
            from render import handover

            try:
                handover.run(plan, events, done, on_event=tell)
            except KeyboardInterrupt:
                done = replace(done, interrupted=True)
        tell(done)
    return _finish(done, events, as_json, debug)


def _finish(done: "AlbumDone", events: "list[Event]", as_json: bool, debug: bool) -> int:
    """Say how a batch ended, and with which exit code."""
    from render.batch import exit_code
    from render.events import Exported, ExportFailed, StemFailed
    from render.progress import final_line, printable, totals
    from render.tables import summary_table

    unwritten = [event for event in events if isinstance(event, ExportFailed)]
    for missing in unwritten:
        if as_json:
            _error(f"{missing.kind}: {printable(missing.reason)}")
    for failure in [event for event in events if isinstance(event, StemFailed)]:
        if as_json:
            _error(f"{printable(failure.title)}: {printable(failure.reason)}")
        if debug and failure.trace:
            _console(stderr=True).print(failure.trace, markup=False, soft_wrap=True)
    if not as_json:
        console = _console()
        console.print(summary_table(events))
        console.print(totals(done))
        for event in events:
            if isinstance(event, Exported | ExportFailed):
                console.print(final_line(event), soft_wrap=True, markup=False)
    return exit_code(done) or (1 if unwritten else 0)


@contextmanager
def _watching(as_json: bool) -> "Iterator[tuple[OnEvent, list[Event]]]":
    """A reporter that is shown while the block runs, and the events that ended stems or sessions."""
    from render.events import Exported, ExportFailed, StemFailed, StemPublished, StemSkipped
    from render.progress import reporter

    kept: list[Event] = []
    with reporter(_console(stderr=True), as_json=sys.stdout if as_json else None) as shown:

        def tell(event: "Event") -> None:
            shown(event)
            if isinstance(event, StemFailed | StemPublished | StemSkipped | Exported | ExportFailed):
                kept.append(event)

        yield tell, kept


@contextmanager
def _terminable() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: cleanly."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _reporting(debug: bool) -> Iterator[None]:
    """A red line for every mistake a user can make, and exit code 2; the trace with ``debug``."""
    from engine.errors import EngineError
    from presets.errors import PresetError
    from render.errors import InputError, RenderError

    try:
        yield
    except InputError as error:
        if debug:
            raise
        for mistake in error.mistakes:
            _error(str(mistake))
        raise typer.Exit(2) from None
    except (EngineError, PresetError, RenderError) as error:
        if debug:
            raise
        _error(" ".join(str(error).split()))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if debug:
            raise
        _console(stderr=True).print("interrupted; nothing was kept", style="yellow")
        raise typer.Exit(130) from None


def _error(line: str) -> None:
    from rich.text import Text

    _console(stderr=True).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    # A table in a pipe has no window to fit into.
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=200)
