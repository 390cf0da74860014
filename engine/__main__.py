"""``python -m engine``: the engine's commands alone."""

import engine.recipecli
from engine.cli import app

app.add_typer(engine.recipecli.app, name="recipes")
app(prog_name="engine")
