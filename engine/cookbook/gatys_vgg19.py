"""Gatys, Ecker & Bethge's style transfer with VGG-19, a spectrogram for the picture."""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("decibels", bands=Given("bands"))
_FEATURES = Part("vgg", depth=19, weights=Given("weights"), pool=Given("pool"))
_STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")

RECIPE = Recipe(
    name="gatys-vgg19",
    title="VGG-19 on a mel spectrogram, Gram matrices of five layers",
    source="Gatys, Ecker & Bethge 2016; on spectrograms as Dipani, Kanak, DeepMix and Bratu report",
    use="comparison, with weights of your own: no package carries VGG-19's",
    params={
        "weights": Choice("vgg19", ("vgg19", "random"), "of the network; random: nobody has trained it"),
        "bands": Whole(128, 0, 1024, "mel bands up to 16 kHz; 0: every bin of the spectrogram, eight times as slow"),
        "pool": Choice("avg", ("avg", "max"), "how the network halves its maps; it was trained with max"),
        "alpha": Real(0.02, 0, 1000, "weight of the stem"),
        "rhythm": Real(0.1, 0, 1000, "weight of the stem's onsets"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("on", layers=_STYLE, statistic=Part("gram", scale="relative")), unit="stem"),
        Term(
            _VIEW,
            _FEATURES,
            Part("on", layers=("conv4_2",), statistic=Part("squares", scale="relative")),
            weight=Given("alpha"),
            of="stem",
        ),
    ),
    solver=Part("gains", iterations=Given("iterations"), bands=Given("bands")),
    equations="mean over layers of ‖G(x) − G(s)‖² / ‖G(s)‖², G = F Fᵀ / positions, and ‖F(x) − F(c)‖² / ‖F(c)‖²",
    figure="20,024,384 weights of its convolutions; its sources report no loss and call the result noise",
    cost=Cost(evaluation_s=0.8),
    device="a GPU, or patience",
    weights="vgg19",
)
