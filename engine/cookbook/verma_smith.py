"""Verma & Smith 2018: Gram matrices, and the energy envelopes that they lack."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("log-magnitude", n_fft=705, overlap=4)
_ROWS = Part("identity", rows=True)
_STACK = Part("stack")

RECIPE = Recipe(
    name="verma-smith",
    title="Gram matrices and energy envelopes",
    source="Verma & Smith 2018, 'Neural style transfer for audio spectograms', arXiv 1801.01589",
    use="one instrument played with the tone of another",
    params={
        "alpha": Real(0.1, 0, 1000, "weight of the stem's features"),
        "beta": Real(1.0, 0, 1000, "weight of the style's Gram matrices"),
        "gamma": Real(1.0, 0, 1000, "weight of the style's envelope over frequency"),
        "delta": Real(0.0, 0, 1000, "weight of the style's envelope over time, repeated or cut: as published"),
        "dynamics": Real(0.1, 0, 1000, "weight of the stem's own envelope over time"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _STACK, Part("gram", scale="relative"), weight=Given("beta"), unit="stem"),
        Term(_VIEW, _ROWS, Part("frequency-envelope"), weight=Given("gamma"), unit="stem"),
        Term(_VIEW, _ROWS, Part("time-envelope"), weight=Given("delta"), unit="stem"),
        Term(_VIEW, _ROWS, Part("time-envelope"), weight=Given("dynamics"), of="stem"),
        Term(_VIEW, _STACK, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations")),
    equations="α Lc + β Ls + γ Le + δ Lt; envelopes: mean S² over time, and over frequency, in log over their peak",
    figure="its authors give no number, and no weights of α, β, γ, δ",
    cost=Cost(evaluation_s=0.4),
    weights="none: a random stack of 3 × 3 filters stands in for their AlexNet, whose weights are not public",
)
