"""Caracalla & Roebel 2019: texture statistics of each frequency by itself, optimised on the waveform.

How their log spectrogram is compressed is not known.  With log(1 + 1000·a), as in Kanak's take on it, the noise floor
decides and descent on the waveform stays at 0.7 of where it began; with log(1 + a) it falls a hundredfold.
"""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=512, overlap=2)
_FEATURES = Part("planes", filters=Given("filters"))

RECIPE = Recipe(
    name="caracalla-roebel",
    title="Square random filters, a Gram matrix for each frequency, on the waveform",
    source="Caracalla & Roebel 2019, 'Sound texture synthesis using convolutional neural networks' (DAFx)",
    use="textures, from noise or over the stem; the slowest and among the most promising of the published ones",
    params={
        "filters": Whole(128, 1, 4096, "random filters of each size"),
        "alpha": Real(0.0, 0, 1000, "weight of the stem"),
        "start": Choice("stem", ("stem", "noise"), "where the waveform starts; noise makes a texture of it"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="relative", rows=True)),
        Term(_VIEW, _FEATURES, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations"), history=25, start=Given("start"), precondition=False),
    equations="mean over sizes of ‖H(x) − H(s)‖² / ‖H(s)‖², H = F Fᵀ / T for each frequency",
    figure="262,144 weights",
    cost=Cost(evaluation_s=15),
    device="a GPU, or fewer filters",
)
