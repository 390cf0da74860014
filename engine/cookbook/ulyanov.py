"""The reference everything is compared with: Ulyanov & Lebedev 2016, as published but for four departures.

log1p magnitude (2048/512 at 22 050 Hz), 4096 random filters of 11 frames, Gram over all frames, content weight 0.01;
L-BFGS on the spectrogram from small noise, then 500 Griffin-Lim steps from random phase.  Departures: any length (their
code cuts to 430 frames), the Gram matrix divided by the number of patches of each side (theirs crops the style to the
content's length instead), our L-BFGS for SciPy's, and the channels of a stem take one gain (theirs is mono).
"""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=2048)
_FEATURES = Part("random", filters=Given("filters"), width=11)

RECIPE = Recipe(
    name="ulyanov",
    title="4096 random filters, Gram matrices, Griffin-Lim",
    source="Ulyanov & Lebedev 2016, 'Audio texture synthesis and style transfer'",
    use="the reference everything is compared with; slow, mono detail lost in phase reconstruction",
    params={
        "filters": Whole(4096, 1, 65536, "random filters"),
        "alpha": Real(0.01, 0, 1000, "weight of the stem"),
        "iterations": Whole(300, 1, 100_000, "iterations; their line search adds 7 %"),
        "griffin_lim": Whole(500, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram")),
        Term(_VIEW, _FEATURES, Part("squares"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("spectrogram", iterations=Given("iterations", 1.07), start="noise"),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="Gram matrices of relu(w * log(1+a)), squared distance, plus alpha times the features' own",
    figure="565 in the published notebook on its own pair; 547 ours (seed 0), within 500 to 620",
    cost=Cost(evaluation_s=0.7),
)
