"""Kanak's take on Caracalla & Roebel: one joint Gram matrix for each frequency, on the spectrogram, from the stem.

Ours divides by the number of frames and by the style's own size, where the published loss sums; it needs no resizing of
the style to the stem's length, and L-BFGS no learning rate.
"""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048, overlap=8, compression=1000.0)
_FEATURES = Part("planes", filters=Given("filters"), spread=0.0, joint=True)

RECIPE = Recipe(
    name="kanak-texture",
    title="256 maps of eight sizes, one Gram matrix for each frequency, on the spectrogram",
    source="Kanak, project on audio style transfer (after Caracalla & Roebel 2019)",
    use="textures over a stem whose notes stay; heavy on memory",
    params={
        "filters": Whole(32, 1, 1024, "random filters of each size"),
        "alpha": Real(0.01, 0, 1000, "weight of the stem"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
        "griffin_lim": Whole(32, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="relative", rows=True)),
        Term(_VIEW, _FEATURES, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("spectrogram", iterations=Given("iterations")),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="H[y] = F_y F_yᵀ over all sizes at once; ‖H(x) − H(s)‖² / ‖H(s)‖² plus alpha times the features' own",
    figure="65,792 parameters; H holds 1025 × 256 × 256 numbers",
    cost=Cost(evaluation_s=15, more=", and 8 GB"),
    device="a GPU, or fewer filters",
)
