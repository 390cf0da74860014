"""Grinstein et al. 2018 with SoundNet: the style's statistics alone, started at the stem."""

from engine.recipe import Choice, Cost, Given, Part, Recipe, Term, Whole

_VIEW = Part("resampled", rate_hz=22050, scale=256.0)
_FEATURES = Part("soundnet", weights=Given("weights"))

RECIPE = Recipe(
    name="grinstein-soundnet",
    title="SoundNet on the waveform, Gram matrices of seven layers, no term for the stem",
    source="Grinstein, Duong, Ozerov & Pérez 2018, 'Audio style transfer'; the network of Aytar et al. 2016",
    use="comparison: some style and some noise, as its source says; turn the amount down to keep the stem",
    params={
        "weights": Choice("soundnet", ("soundnet", "random"), "of the network; random: nobody has trained it"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
    },
    terms=(Term(_VIEW, _FEATURES, Part("gram", scale="relative"), unit="stem"),),
    solver=Part("waveform", iterations=Given("iterations"), precondition=False),
    equations="mean over layers of ‖G(x) − G(s)‖² / ‖G(s)‖², G = F Fᵀ / positions; from the stem",
    figure="14,356,777 weights and heads; its source reports no loss",
    cost=Cost(evaluation_s=0.2),
    weights="soundnet",
)
