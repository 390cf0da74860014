"""Park & Lee 2019 without the weights nobody gives: frames of the style that resemble those of the stem."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Whole

RECIPE = Recipe(
    name="sanet",
    title="Style attention without weights",
    source="Park & Lee 2019, 'Arbitrary style transfer with style-attentional networks'",
    use="at once: the style's own spectra on the stem's notes, where both play in one register",
    params={
        "width": Whole(3, 1, 64, "frames of a patch"),
        "temperature": Real(0.05, 1e-4, 100, "the smaller, the fewer frames of the style are mixed"),
        "residual": Real(0.5, 0, 1, "share of the stem's own frames, at the style's moments"),
    },
    solver=Part(
        "mapped",
        representation=Part("log-magnitude"),
        move=Part("attention", width=Given("width"), temperature=Given("temperature"), residual=Given("residual")),
    ),
    equations="F + W Σⱼ softmax(f(F̄)ᵀ g(F̄ₛ))ⱼ h(Fₛ)ⱼ with f = g = h = 1 on normalised patches",
    figure="none without the trained weights; a style among its own frames finds itself",
    cost=Cost(second_s=0.02),
)
