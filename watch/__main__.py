"""``python -m watch``: the watch commands alone."""

from watch.cli import app

app(prog_name="watch")
