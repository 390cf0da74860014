"""Mital's time-domain transfer with the encoder of NSynth's WaveNet, started where it can arrive."""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("mu-law", rate_hz=16000)
_FEATURES = Part("wavenet", weights=Given("weights"))

RECIPE = Recipe(
    name="wavenet",
    title="NSynth's WaveNet encoder on the waveform, Gram matrices of two layers",
    source="Mital 2017, 'Time Domain Neural Audio Style Transfer', with the network of Engel et al. 2017; DeepMix",
    use="comparison, with weights of your own: slow, and noise where its sources report noise",
    params={
        "weights": Choice("wavenet", ("wavenet", "random"), "of the network; random: nobody has trained it"),
        "alpha": Real(0.1, 0, 1000, "weight of the stem"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="relative"), unit="stem"),
        Term(_VIEW, _FEATURES, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations"), precondition=False),
    equations="mean over two layers of ‖G(x) − G(s)‖² / ‖G(s)‖², G = F Fᵀ / positions, and ‖F(x) − F(c)‖² / ‖F(c)‖²",
    figure="1,976,336 weights, 6,141 samples seen; its source ends in the noise it starts from, a hundred steps of a "
    "thousandth away",
    cost=Cost(evaluation_s=5),
    device="a GPU, or patience",
    weights="wavenet",
)
