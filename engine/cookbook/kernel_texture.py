"""Caracalla & Roebel's texture statistics with infinitely many filters: an MMD for each row of the spectrum."""

from engine.cookbook.kept import KEEP, KEEPERS
from engine.recipe import Cost, Given, Part, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048)


def _size(size: int) -> Term:
    """The squared MMD of square patches of ``size`` bins and frames, row by row."""
    return Term(
        _VIEW,
        Part("bands", height=size, rows=Given("rows")),
        Part("mmd", kernel="arc-cosine", width=size),
        weight=1 / 3,
        unit="stem",
    )


RECIPE = Recipe(
    name="kernel-texture",
    title="Texture statistics of infinitely many square filters, exactly",
    source="Gramophone; the limit of Caracalla & Roebel 2019 in closed form, row by row",
    use="rain, fire, crowds and machines: styles that are textures at every frequency by itself",
    params={
        "rows": Whole(24, 0, 4096, "rows of the spectrum that are compared, spread as mels are; 0: all"),
        "keep": KEEP,
        "iterations": Whole(40, 1, 100_000, "evaluations of the loss"),
    },
    terms=(_size(3), _size(11), _size(27)),
    keepers=KEEPERS,
    solver=Part("waveform", iterations=Given("iterations")),
    equations="products of square patches around each row, then κ and a squared MMD of that row",
    figure="the mean over networks of the off-diagonal distance of H tends to this limit, within 1 %",
    cost=Cost(second_s=2.5),
)
