"""The ``doctor`` and ``bench`` commands, beside those of `engine.recipecli`. What weighs is imported inside them."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from engine.doctor import Report

#: Folders that the doctor looks at besides its own, by name: whoever composes the command line adds those it knows of.
FOLDERS: dict[str, Callable[[], Path]] = {}
#: What gives the folders that chains take plugins from.
PLUGIN_FOLDERS: list[Callable[[], Iterable[Path]]] = []

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
def doctor(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Tell what this machine can do, and what stands in the way of a render.

    Devices, memory, versions, folders, plugins, and two seconds rendered on every device. Exit code 1 if a check fails.
    """
    with reporting(debug):
        from engine import doctor as examiner

        err = _console(stderr=True)

        def step(line: str) -> None:
            err.print(line, style="dim", markup=False, soft_wrap=True)

        plugins = [folder for found in PLUGIN_FOLDERS for folder in found()]
        report = examiner.examine({name: where() for name, where in FOLDERS.items()}, step, plugins)
        if as_json:
            typer.echo(json.dumps(report.record(), indent=2, ensure_ascii=False))
        else:
            _print_report(report)
        if not report.ok:
            raise typer.Exit(1)


@app.command()
def bench(
    suite: Annotated[
        str,
        typer.Option(
            help="Which tables to make. main: speed, memory and sound; long: time and memory against length; "
            "device: batch sizes, channels and rates; recipes: all recipes on the same pairs."
        ),
    ] = "main",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or mps; with auto, suite device measures all that there are.")
    ] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run: little sound and few repeats, a minute and not ten.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Suite long: stems of hours, and standard at length. Suite recipes: published sizes, for hours.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the tables as Markdown here, and a plot beside it.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure speed, memory and sound on this machine, on music that the project makes itself.

    Tables go to stdout, progress to stderr.
    """
    with reporting(debug):
        _check_page(out)
        from engine.bench import suites

        err = _console(stderr=True)

        def step(line: str) -> None:
            err.print(line, style="dim", markup=False, soft_wrap=True)

        found = suites.run(suite, device=device, quick=quick, full=full, on_step=step)
        typer.echo(json.dumps(found.record, indent=2) if as_json else found.page)
        if out is not None:
            for path in _save(out, found.page, found.picture):
                step(f"written: {path}")


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


def _save(out: Path, page: str, picture: bytes | None) -> list[Path]:
    """Write the page and, beside it, its plot; what was written."""
    from engine.errors import EngineError

    plot = out.with_suffix(".png")
    try:
        if picture is None:
            out.write_text(page + "\n", encoding="utf-8")
            return [out]
        plot.write_bytes(picture)
        out.write_text(f"{page}\n\n![The same as a plot](<{plot.name}>)\n", encoding="utf-8")
    except OSError as error:
        raise EngineError(
            f"{error.filename or out} cannot be written ({error.strerror}); the tables are above"
        ) from None
    return [out, plot]


def _print_report(report: "Report") -> None:
    from rich.table import Table
    from rich.text import Text

    console = _console()
    for title, rows in _facts(report).items():
        table = Table(
            box=None, pad_edge=False, show_header=False, title=title, title_justify="left", title_style="bold"
        )
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, words in rows:
            table.add_row(name, Text(words))
        console.print(table)
        console.print()
    checks = Table(
        box=None, pad_edge=False, show_header=False, title="Checks", title_justify="left", title_style="bold"
    )
    checks.add_column(no_wrap=True)
    checks.add_column(no_wrap=True)
    checks.add_column(overflow="fold")
    for check in report.checks:
        mark = Text("ok", style="green") if check.ok else Text("failed", style="bold red")
        checks.add_row(mark, check.name, Text(check.found))
        if check.remedy is not None:
            checks.add_row("", "", Text(f"→ {check.remedy}", style="yellow"))
    console.print(checks)


def _facts(report: "Report") -> dict[str, list[tuple[str, str]]]:
    """What was found apart from the checks, in words, a table for each title."""
    from engine.doctor import gib

    threads = "" if report.threads is None else f", {report.threads} threads"
    machine = [
        ("system", report.system),
        ("processor", report.processor),
        ("cores", f"{report.cores}, {report.usable_cores} usable{threads}"),
        ("memory", f"{gib(report.ram.total)}, {gib(report.ram.free)} free"),
    ]
    for gpu in report.gpus:
        capability = "" if gpu.capability is None else f", compute capability {gpu.capability}"
        machine.append((gpu.device, f"{gpu.name}, {gib(gpu.memory)}, {gib(gpu.free)} free{capability}"))
    machine += [(f"products on {device}", f"float32, {precision}") for device, precision in report.products.items()]
    if report.auto is not None:
        machine.append(("--device auto", report.auto))
    selftests = [
        (
            test.device,
            f"learnt in {test.learn_s:.2f} s, first render {test.first_s:.2f} s, then {test.render_s:.2f} s "
            f"({test.real_time:.1f} times real time)",
        )
        for test in report.selftests
        if test.render_s is not None
    ]
    plugins = [
        (str(folder.path), "not there" if folder.plugins is None else str(folder.plugins)) for folder in report.plugins
    ]
    return {
        "Machine": machine,
        "Versions": [(name, version or "not installed") for name, version in report.versions.items()],
        "Plugins": plugins,
        **({"Two seconds, draft": selftests} if selftests else {}),
    }


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    # A table in a pipe has no window to fit into.
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=160)


@contextmanager
def reporting(debug: bool) -> Iterator[None]:
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
