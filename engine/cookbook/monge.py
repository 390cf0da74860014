"""The Gaussian Monge map on log bins: the covariance of the style at the least displacement."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Whole

RECIPE = Recipe(
    name="monge",
    title="The Monge map between Gaussians",
    source="Olkin & Pukelsheim 1982; as style transfer Mroueh 2020, 'Wasserstein style transfer'",
    use="at once: tone and how bins move together",
    params={
        "rank": Whole(60, 0, 4096, "leading directions of both sounds that are matched; 0: all"),
        "shrink": Real(0.5, 0, 1, "how far covariances are shrunk towards their diagonal, which onsets need; 1: adain"),
    },
    solver=Part(
        "mapped",
        representation=Part("log-magnitude"),
        move=Part("covariance", kind="monge", rank=Given("rank"), shrink=Given("shrink")),
    ),
    equations="T = C^-½ (C^½ S C^½)^½ C^-½, y = T (x − μ) + μₛ",
    figure="with shrink 0 mean and covariance are the style's, to 1e-4, at no more displacement than wct",
    cost=Cost(second_s=0.02),
)
