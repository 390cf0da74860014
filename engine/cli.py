"""The ``recipes`` and ``bench`` commands. What weighs is imported inside them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from engine.recipes import Recipe

app = typer.Typer(
    name="engine",
    help="What the engine can do, and how fast this machine does it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe to tell more of; without it, all are listed.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the recipes: the methods of style transfer there are, whose they are and what each is good for."""
    with _reporting(debug):
        from engine.recipes import RECIPES, find

        chosen = [find(name)] if name is not None else list(RECIPES.values())
        if as_json:
            records = [_record(recipe) for recipe in chosen]
            typer.echo(json.dumps(records[0] if name is not None else records, indent=2, ensure_ascii=False))
        elif name is not None:
            _print_recipe(chosen[0])
        else:
            _print_recipes(chosen)


@app.command()
def bench(
    suite: Annotated[str, typer.Option(help="Which tables to make; there is one suite: main.")] = "main",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="Three seconds of sound and a tenth of the baseline: a minute, not ten.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the tables as Markdown here.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure speed, memory and sound on this machine, on music that the project makes itself.

    Tables go to stdout, progress to stderr.
    """
    with _reporting(debug):
        from engine.bench import report, suites

        _check_page(out)
        err = _console(stderr=True)

        def step(line: str) -> None:
            err.print(line, style="dim", markup=False, soft_wrap=True)

        found = suites.run(suite, device=device, quick=quick, on_step=step)
        page = report.markdown(found)
        typer.echo(json.dumps(found.record(), indent=2) if as_json else page)
        if out is not None:
            _save(out, page)
            step(f"written: {out}")


def _check_page(out: Path | None) -> None:
    """Refuse, before minutes are spent, a page that cannot be written after them."""
    from engine.errors import EngineError

    if out is None:
        return
    if out.suffix.lower() != ".md":
        raise EngineError(f"--out is {str(out)!r}; expected the name of a Markdown file, ending in .md")
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"is to go into {str(out.parent)!r}, which is not there"
        raise EngineError(f"--out {str(out)!r} {what}; name a file in a folder that exists")


def _save(out: Path, page: str) -> None:
    from engine.errors import EngineError

    try:
        out.write_text(page + "\n", encoding="utf-8")
    except OSError as error:
        raise EngineError(f"{out} cannot be written ({error.strerror}); the tables are above") from None


def _record(recipe: "Recipe") -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "source": recipe.source,
        "use": recipe.use,
        "parts": list(recipe.parts),
        "weights": recipe.weights,
    }


def _print_recipes(chosen: "list[Recipe]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 1, 0))
    for column, share in (("recipe", 0), ("what", 3), ("source", 4), ("when to use it", 3)):
        table.add_column(column, ratio=share or None, no_wrap=not share)
    for recipe in chosen:
        cells = (recipe.title, recipe.source, recipe.use)
        table.add_row(Text(recipe.name, style="bold"), *(Text(cell) for cell in cells))
    _console().print(table)


def _print_recipe(recipe: "Recipe") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, words in (("what", recipe.title), ("source", recipe.source), ("when to use it", recipe.use)):
        table.add_row(label, Text(words))
    for index, part in enumerate(recipe.parts):
        table.add_row("" if index else "parts", Text(part))
    table.add_row("weights", Text(recipe.weights))
    console = _console()
    console.print(Text(recipe.name, style="bold"))
    console.print(table)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    # A table in a pipe has no window to fit into.
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=160)


@contextmanager
def _reporting(debug: bool) -> Iterator[None]:
    """One red line and exit code 2 for every mistake a user can make; the trace with ``debug``."""
    from engine.errors import EngineError

    try:
        yield
    except EngineError as error:
        if debug:
            raise
        _error(" ".join(str(error).split()))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if debug:
            raise
        _error("interrupted; no table was written")
        raise typer.Exit(130) from None


def _error(line: str) -> None:
    from rich.text import Text

    _console(stderr=True).print(Text.assemble(("error: ", "bold red"), (line, "red")), soft_wrap=True)
