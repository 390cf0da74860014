"""Heitz et al. 2021 on log magnitude: the whole distribution of the spectrum, not its second moments."""

from engine.cookbook.kept import KEEPERS
from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

RECIPE = Recipe(
    name="sliced-wasserstein",
    title="Sliced Wasserstein distance of bands",
    source="Heitz et al. 2021, 'A sliced Wasserstein loss for neural texture synthesis'",
    use="the most style for its time, of textures and of instruments, with pitch and rhythm held by keep",
    params={
        "bands": Whole(48, 1, 4096, "runs of neighbouring bins, spread as mels are, each a distribution of its own"),
        "height": Whole(32, 1, 1024, "bins of a run"),
        "directions": Whole(0, 0, 65536, "random directions in each; 0: as many as a run has bins"),
        "keep": Real(0.3, 0, 1000, "weight of the stem's pitch, rhythm and levels; 0: style alone, as published"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(
            Part("log-magnitude"),
            Part("bands", height=Given("height"), rows=Given("bands")),
            Part("sliced", directions=Given("directions"), rows=True),
            unit="stem",
        ),
    ),
    keepers=KEEPERS,
    solver=Part("waveform", iterations=Given("iterations")),
    equations="mean over unit directions V of ‖sort(V·F(x)) − sort(V·F(s))‖² (eq. 4), quantiles where lengths differ",
    figure="published for images; a tenth of the stem's style distance is left at chroma 0.92 on generated pairs",
    cost=Cost(evaluation_s=0.1),
)
