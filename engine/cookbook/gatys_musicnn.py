"""Gatys, Ecker & Bethge's style transfer with a network that was trained on music."""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-mel")
_FEATURES = Part("musicnn", weights=Given("weights"))
_STYLE = ("conv1", "conv2", "conv3", "conv4", "conv5")

RECIPE = Recipe(
    name="gatys-musicnn",
    title="The VGG of a music tagger, Gram matrices of five layers",
    source="Gatys, Ecker & Bethge 2016 with the network of Pons & Serra 2019 (musicnn); the pairing is ours",
    use="the pretrained network that fits audio; hears up to 8 kHz, what is above stays the stem's",
    params={
        "weights": Choice(
            "musicnn-msd",
            ("musicnn-msd", "musicnn-mtt", "random"),
            "of the network, by what it was trained on; random: nobody has trained it",
        ),
        "alpha": Real(0.05, 0, 1000, "weight of the stem"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("on", layers=_STYLE, statistic=Part("gram", scale="relative")), unit="stem"),
        Term(
            _VIEW,
            _FEATURES,
            Part("on", layers=("conv3",), statistic=Part("squares", scale="relative")),
            weight=Given("alpha"),
            of="stem",
        ),
    ),
    solver=Part("waveform", iterations=Given("iterations")),
    equations="mean over layers of ‖G(x) − G(s)‖² / ‖G(s)‖², G = F Fᵀ / positions, and ‖F(x) − F(c)‖² / ‖F(c)‖²",
    figure="594,180 weights without the tagger's last layer; nobody has published a transfer with them",
    cost=Cost(evaluation_s=0.4),
    weights="musicnn-msd",
)
