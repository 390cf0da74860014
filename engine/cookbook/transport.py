"""Optimal transport bin by bin and a Monge map in few directions: the instant preview."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Whole

RECIPE = Recipe(
    name="transport",
    title="Optimal transport of bins, on the stem's phase",
    source="Gramophone; one-dimensional optimal transport and Olkin & Pukelsheim's map",
    use="a preview in no time, and stems whose every note must stay where it is",
    params={
        "rank": Whole(32, 0, 1024, "directions in which bins move together as the style's do; 0: none"),
        "shrink": Real(0.8, 0, 1, "how far their covariances are shrunk towards the diagonal"),
    },
    solver=Part(
        "mapped",
        representation=Part("log-magnitude", overlap=2),
        move=Part("transport", rank=Given("rank"), shrink=Given("shrink")),
    ),
    equations="y = Q_s(rank of x) for each bin, then C^-½ (C^½ S C^½)^½ C^-½ of what correlations are left",
    figure="at least a hundred times real time on one core",
    cost=Cost(second_s=0.01),
)
