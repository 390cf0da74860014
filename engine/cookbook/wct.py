"""Li et al. 2017 on log frames."""

from engine.recipe import Cost, Given, Part, Recipe, Whole

RECIPE = Recipe(
    name="wct",
    title="Whitening and colouring",
    source="Li et al. 2017, 'Universal style transfer via feature transforms'",
    use="comparison with monge, which reaches the same statistics and moves less",
    params={"rank": Whole(60, 0, 4096, "leading directions of both sounds that are matched; 0: all")},
    solver=Part(
        "mapped", representation=Part("log-magnitude"), move=Part("covariance", kind="wct", rank=Given("rank"))
    ),
    equations="E_s D_s^½ E_sᵀ E_c D_c^-½ E_cᵀ (x − μ) + μₛ, eigenvalues below 1e-5 of the greatest left out",
    figure="mean and covariance are the style's, to 1e-4",
    cost=Cost(second_s=0.02),
)
