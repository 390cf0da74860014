"""Ulyanov's notebook as a project took it up: the same network, rendered with 300 Griffin-Lim steps."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048)
_FEATURES = Part("random", filters=Given("filters"), width=11)

RECIPE = Recipe(
    name="srm",
    title="4096 random filters, from noise, 300 Griffin-Lim steps",
    source="SRM project report on Ulyanov & Lebedev 2016",
    use="comparison with what was reported on film songs; noise on speech and dense mixes",
    params={
        "filters": Whole(4096, 1, 65536, "random filters"),
        "alpha": Real(0.01, 0, 1000, "weight of the stem"),
        "iterations": Whole(300, 1, 100_000, "iterations; their line search adds 7 %"),
        "griffin_lim": Whole(300, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram")),
        Term(_VIEW, _FEATURES, Part("squares"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("spectrogram", iterations=Given("iterations", 1.07), start="noise"),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="Gram matrices of relu(w * log(1+a)), squared distance, plus alpha times the features' own",
    figure="its log ends at 2895.29 after 300 iterations on a pair that is not published",
    cost=Cost(evaluation_s=0.7),
)
