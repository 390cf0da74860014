"""The console script: one command line out of those of the engine, the presets and the render house."""

import os
from pathlib import Path
from typing import Annotated

import typer

import engine.cli
import engine.recipecli
import presets.cli
import render.chaincli
import render.cli
import watch.cli

app = typer.Typer(
    name="gramophone",
    help="Play stems through a sound you love: learn it once as a preset, then render.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# The commands of render and engine stand beside the preset group, not in groups of their own.
app.registered_commands += render.cli.app.registered_commands + engine.cli.app.registered_commands
app.add_typer(presets.cli.app, name="preset")
app.add_typer(engine.recipecli.app, name="recipes")
app.add_typer(render.chaincli.app, name="chain")
app.add_typer(watch.cli.app, name="watch")


@app.callback(invoke_without_command=True)
def _root(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if show:
        from presets.version import gramophone_version

        typer.echo(f"gramophone {gramophone_version()}")
        raise typer.Exit


def _library() -> Path:
    from presets.library import default_library

    return default_library().folder


def _plugin_folders() -> list[Path]:
    from render.pluginfiles import folders

    return folders()


def main() -> None:
    """Run the command line; the entry point of the console script."""
    # OpenMP's threads spin while they wait for one another, by default so long that another program on the same cores
    # makes a render fifteen times slower; this much costs nothing on idle ones.  Read once, when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    engine.cli.FOLDERS["preset library"] = _library
    engine.cli.PLUGIN_FOLDERS[:] = [_plugin_folders]
    app(prog_name="gramophone")


if __name__ == "__main__":
    main()
