"""Kanak's transfer with the feature extractor of wav2vec2, without what made noise of it."""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("resampled", rate_hz=16000, scale=10.0)
_FEATURES = Part("wav2vec2", weights=Given("weights"))

RECIPE = Recipe(
    name="wav2vec2",
    title="The feature extractor of wav2vec2 on the waveform, Gram matrices of seven layers",
    source="Kanak's project, with the network of Baevski et al. 2020",
    use="comparison, with weights of your own: features of the waveform know phase, and leave noise behind",
    params={
        "weights": Choice("wav2vec2", ("wav2vec2", "random"), "of the network; random: nobody has trained it"),
        "alpha": Real(0.1, 0, 1000, "weight of the stem"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="relative"), unit="stem"),
        Term(_VIEW, _FEATURES, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations"), precondition=False),
    equations="mean over layers of ‖G(x) − G(s)‖² / ‖G(s)‖², G = F Fᵀ / positions, and ‖F(x) − F(c)‖² / ‖F(c)‖²",
    figure="4,200,448 weights, 400 samples seen every 320; its source reports the stem with a ton of noise, from Adam "
    "at a learning rate that moves each sample by 0.1 a step",
    cost=Cost(evaluation_s=2),
    device="a GPU, or patience",
    weights="wav2vec2",
)
