"""DeepMix's one-layer network: Ulyanov's, its losses divided by the square of the number of filters."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048)
_FEATURES = Part("random", filters=Given("filters"), width=Given("width"))

RECIPE = Recipe(
    name="deepmix-1",
    title="One random layer, any width",
    source="DeepMix, one layer (after Ulyanov & Lebedev 2016), alpha 0.006",
    use="monophonic sources; seeing what the number of filters does, and that their width does nothing",
    params={
        "filters": Whole(4096, 1, 65536, "random filters"),
        "width": Whole(11, 1, 64, "frames a filter sees"),
        "alpha": Real(0.006, 0, 1000, "weight of the stem"),
        "iterations": Whole(300, 1, 100_000, "iterations; their line search adds 7 %"),
        "griffin_lim": Whole(500, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="maps")),
        Term(_VIEW, _FEATURES, Part("squares", scale="maps"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("spectrogram", iterations=Given("iterations", 1.07), start="noise"),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="Ulyanov's loss over F²: Gram matrices of relu(w * log(1+a)), plus alpha times the features' own",
    figure="final loss falls with F (its table: 8.8 times from 1024 to 4096 filters; here, on ten seconds, 7.9 from "
    "alpha 0.006 to 0.01, and 12.7 with 0.006 for both) and hardly depends on the width",
    cost=Cost(evaluation_s=0.7),
)
