"""Recipes on real stems of ten seconds in stereo, learnt and rendered as a user would: files as they must be, and
losses that fall.

Those that take a few seconds; `tests.real.recipes_table` renders every one and prints the table of docs/RECIPES.md.
"""

from pathlib import Path

import pytest

from .recipes_table import rendered, stereo

DRUMS, KEYS = ("drums", "organ"), ("keys", "bell-choir")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings, presets and renders of this run lie."""
    folder = tmp_path_factory.mktemp("real-recipes")
    (folder / "mono").mkdir()
    return folder


@pytest.mark.parametrize(
    ("recipe", "pair"),
    [
        ("kernel", DRUMS),
        ("kernel-linear", KEYS),
        ("kernel-2layer", KEYS),
        ("sliced-wasserstein", DRUMS),
        # frames of the style can only say what the style has: here the notes of the same piano
        ("mosaic", ("melody", "scale")),
    ],
)
def test_the_loss_falls_fivefold(recipe: str, pair: tuple[str, str], folder: Path) -> None:
    """With all defaults the loss ends at a fifth of its start or below, and the file has the stem's shape."""
    stem, style = (stereo(name, folder) for name in pair)
    row = rendered(recipe, stem, style, folder)
    assert row["shape"]
    assert row["falls"] >= 5
