"""Histogram matching of every bin over time."""

from engine.recipe import Cost, Part, Recipe

RECIPE = Recipe(
    name="histogram",
    title="The distribution of every bin",
    source="one-dimensional optimal transport; in the SRM project report as histogram matching",
    use="at once: tone and dynamics of every bin; it knows nothing of how bins move together",
    solver=Part("mapped", representation=Part("log-magnitude"), move=Part("histogram")),
    equations="y = Q_s(rank of x) for each bin over time",
    figure="every quantile of every bin is the style's",
    cost=Cost(second_s=0.02),
)
