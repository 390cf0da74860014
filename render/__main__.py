"""``python -m render``: the render commands alone."""

from render.cli import app

app(prog_name="render")
