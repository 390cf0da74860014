"""Dipani's linear network with infinitely many filters: second moments of patches, without a filter."""

from engine.cookbook.kept import KEEP, KEEPERS
from engine.recipe import Cost, Given, Part, Recipe, Term, Whole

RECIPE = Recipe(
    name="kernel-linear",
    title="The infinitely wide linear network, exactly",
    source="Gramophone; the limit of Dipani's network in closed form (Li et al. 2017: a Gram loss is an MMD)",
    use="the cheapest of the limits, and the plainest: spectra and their covariances over short spans",
    params={
        "width": Whole(3, 1, 64, "frames in a patch"),
        "keep": KEEP,
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(
            Part("log-magnitude", n_fft=2048, folded=True),
            Part("identity"),
            Part("mmd", kernel="linear", width=Given("width")),
            unit="stem",
        ),
    ),
    keepers=KEEPERS,
    solver=Part("waveform", iterations=Given("iterations")),
    equations="‖M_x − M_s‖² of the mean patch products M = E p pᵀ, through frame-frame products",
    figure="the mean over networks of the off-diagonal Gram distance is this limit, within 1 %",
    cost=Cost(second_s=0.6),
)
