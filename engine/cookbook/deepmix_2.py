"""DeepMix's two-layer network; the second layer's shape is not given and taken to be the first one's."""

from engine.recipe import YES_NO, Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048)
_FEATURES = Part("random", filters=Given("filters"), width=Given("width"), layers=2, all_layers=Given("both_layers"))

RECIPE = Recipe(
    name="deepmix-2",
    title="Two random layers",
    source="DeepMix, two layers, alpha 0.001",
    use="comparison; its limit kernel-2layer is exact and cheaper",
    params={
        "filters": Whole(2048, 1, 65536, "random filters in each layer"),
        "width": Whole(11, 1, 64, "frames a filter sees"),
        "alpha": Real(0.001, 0, 1000, "weight of the stem"),
        "both_layers": Choice(False, YES_NO, "compare the first layer's features too"),
        "iterations": Whole(300, 1, 100_000, "iterations; their line search adds 7 %"),
        "griffin_lim": Whole(500, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram")),
        Term(_VIEW, _FEATURES, Part("squares"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("spectrogram", iterations=Given("iterations", 1.07), start="noise"),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="Gram matrices of the second layer's features, plus alpha times the features' own",
    figure="its four runs of 2048 filters end 6 % apart",
    cost=Cost(evaluation_s=2),
    device="any; a GPU for more than a few seconds",
)
