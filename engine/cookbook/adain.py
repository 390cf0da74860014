"""Huang & Belongie 2017 on log bins, where no network is needed."""

from engine.recipe import Cost, Part, Recipe

RECIPE = Recipe(
    name="adain",
    title="Mean and deviation of every bin",
    source="Huang & Belongie 2017, 'Arbitrary style transfer in real-time with adaptive instance normalization'",
    use="at once: the tone of the style, with the stem's notes and rhythm left alone",
    solver=Part("mapped", representation=Part("log-magnitude"), move=Part("adain")),
    equations="σₛ (x − μ) / σ + μₛ for each bin over time (eq. 8), on log(1 + a) of the linked magnitude a",
    figure="the mean and deviation of every bin are the style's, to 1e-4",
    cost=Cost(second_s=0.01),
)
