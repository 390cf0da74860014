"""``python -m engine``: the engine's commands alone."""

from engine.cli import app

app(prog_name="engine")
