"""``python -m presets``: the preset commands alone."""

from presets.cli import app

app(prog_name="presets")
