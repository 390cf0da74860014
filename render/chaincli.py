"""The ``chain`` commands: which plugins there are, what they take, and whether a chain can be played."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from render.chain import Chain
    from render.errors import Mistake
    from render.scans import Scan, Scanned

app = typer.Typer(
    name="chain",
    help="Plugins to play stems through: list them, ask what they take, check a chain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON on stdout.")]
RescanOption = Annotated[bool, typer.Option("--rescan", help="Look at every plugin again, changed or not.")]


@app.command()
def plugins(as_json: JsonOption = False, rescan: RescanOption = False) -> None:
    """List the built-ins and the plugin files in this platform's folders (and in $GRAMOPHONE_PLUGIN_PATH).

    Each file is loaded once, in a process of its own, and known from then on until it changes.
    """
    from render import pluginfiles, scans
    from render.plugins import PLUGINS

    found: list[Scan] = []
    for path in pluginfiles.installed():
        if not as_json and (rescan or not scans.known(path)):
            _console(stderr=True).print(f"looking at {_plain(path.name)} …", style="dim", soft_wrap=True, markup=False)
        found.append(scans.scan(path, again=rescan))
    if as_json:
        built_in: list[dict[str, Any]] = [{"name": p.name, "use": p.use, "built_in": True} for p in PLUGINS.values()]
        typer.echo(json.dumps(built_in + [record for scan in found for record in _listed(scan)], indent=1))
        return
    rows = [(plugin.name, "built-in", plugin.use, "") for plugin in PLUGINS.values()]
    rows += [row for scan in found for row in _rows(scan)]
    _table(("plugin", "kind", "what", "file"), rows)


@app.command()
def params(
    plugin: Annotated[str, typer.Argument(help="A built-in, a plugin file's name or its path.")],
    plugin_name: Annotated[str | None, typer.Option(help="Which one, when the file holds several.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a plugin's parameters are called in a chain, what they take and where they start."""
    from render import dials
    from render.plugins import PLUGINS

    if plugin in PLUGINS:
        entries = [
            {"name": p.name, "allowed": p.allowed, "value": p.default, "kind": p.kind}
            for p in PLUGINS[plugin].parameters
        ]
    else:
        chosen = _scanned(plugin, plugin_name)
        entries = [{**dials.as_json(dial), "allowed": dial.allowed} for dial in chosen.parameters]
    if as_json:
        typer.echo(json.dumps(entries, indent=1))
        return
    rows = [
        (str(e["name"]), str(e["allowed"]), "" if e["value"] is None else _value(e["value"]), str(e.get("title", "")))
        for e in entries
    ]
    _table(("parameter", "takes", "starts at", "called"), rows)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A TOML file of [\\[chain]] tables.")], as_json: JsonOption = False
) -> None:
    """Check a chain as a render would, and load every plugin file in it once. Exit code 2 when anything is wrong."""
    from presets import chainfile
    from presets.errors import PresetError
    from render import chain
    from render.errors import Mistake

    steps: Chain = ()
    try:
        steps, mistakes = chain.parse(chainfile.tables(file), file=str(file), key="chain", folder=file.parent)
    except PresetError as error:
        mistakes = [Mistake("", "", str(error))]
    if not mistakes:
        mistakes = list(_refusals(steps, str(file)))
    if as_json:
        told = [{"file": m.file, "key": m.key, "message": m.message} for m in mistakes]
        record = {"ok": not mistakes, "steps": [s.record() for s in steps], "mistakes": told}
        typer.echo(json.dumps({**record, "notes": chain.notes(steps)}, indent=1))
    elif not mistakes:
        for number, step in enumerate(steps, 1):
            typer.echo(_plain(f"{number}: {step.plugin.name}{_where(step.external)}"))
        for note in chain.notes(steps):
            typer.echo(_plain(note))
    if mistakes:
        if not as_json:
            _fail(str(mistake) for mistake in mistakes)
        raise typer.Exit(2)


def _refusals(steps: "Chain", file: str) -> "Iterator[Mistake]":
    from render import chain, hosting
    from render.errors import Mistake

    for step in chain.walk(steps):
        refusal = hosting.trial(step.external) if step.external is not None else None
        if refusal is not None:
            yield Mistake(file, "chain", refusal)


def _where(external: Any) -> str:
    if external is None:
        return ""
    said = external.latency_samples
    latency = external.plugin.latency_samples if said is None else said
    late = f", {latency} samples late" if latency else ""
    return f" {external.plugin.version} ({external.path}{late})"


def _scanned(name: str, plugin_name: str | None) -> "Scanned":
    from render import external
    from render.errors import Mistake

    mistakes: list[Mistake] = []
    entry = {"plugin": name} | ({} if plugin_name is None else {"plugin_name": plugin_name})
    found = external.look(entry, "", folder=Path(), wrong=lambda key, text: mistakes.append(Mistake("", key, text)))
    if found is None:
        _fail(f"{m.key.removeprefix('.').replace('_', '-')}: {m.message}" for m in mistakes)
        raise typer.Exit(2)
    return found[1]


def _listed(scan: "Scan") -> Iterator[dict[str, Any]]:
    from render import scans

    if not scan.plugins:
        yield {"name": scan.path.stem, "built_in": False, "path": str(scan.path), "problem": scan.problem}
    for plugin in scan.plugins:
        yield {**scans.as_json(plugin), "built_in": False, "path": str(scan.path), "problem": None}


def _rows(scan: "Scan") -> Iterator[tuple[str, str, str, str]]:
    if not scan.plugins:
        yield scan.path.stem, "broken", scan.problem or "", str(scan.path)
    for plugin in scan.plugins:
        kind = "instrument" if plugin.instrument else "effect"
        widths = "/".join(map(str, plugin.widths)) or "no"
        late = f", {plugin.latency_samples} samples late" if plugin.latency_samples else ""
        what = f"{len(plugin.parameters)} parameters, {widths} channels{late}"
        yield plugin.name, kind, what, str(scan.path)


def _table(headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    _console().print(table)


def _value(value: Any) -> str:
    from render.dials import shown

    # A 32-bit float that stands at 0 may be told as a millionth.
    return shown(0.0 if isinstance(value, float) and abs(value) < 2e-6 else value)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _fail(lines: Iterable[str]) -> None:
    for line in lines:
        _console(stderr=True).print(_plain(line), style="red", soft_wrap=True, markup=False, highlight=False)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


if __name__ == "__main__":
    app(prog_name="chain")
