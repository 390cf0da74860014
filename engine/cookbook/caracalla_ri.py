"""Caracalla & Roebel 2020: the same statistics of real and imaginary parts, which know phase."""

from engine.recipe import Choice, Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("real-imaginary", n_fft=512, overlap=4)
_SIZES = ((101, 2), (53, 3), (11, 5), (3, 3), (5, 5), (11, 11), (19, 19), (27, 27))
_FEATURES = Part("planes", sizes=_SIZES, filters=Given("filters"))

RECIPE = Recipe(
    name="caracalla-ri",
    title="Random filters on real and imaginary spectra, a Gram matrix for each frequency",
    source="Caracalla & Roebel 2020, arXiv 1910.09497 (ICASSP)",
    use="textures of events, whose attacks need phase; noise as the start is the published one",
    params={
        "filters": Whole(128, 1, 4096, "random filters of each size"),
        "alpha": Real(0.0, 0, 1000, "weight of the stem"),
        "start": Choice("noise", ("stem", "noise"), "where the waveform starts"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _FEATURES, Part("gram", scale="relative", rows=True)),
        Term(_VIEW, _FEATURES, Part("squares", scale="relative"), weight=Given("alpha"), of="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations"), history=25, start=Given("start"), precondition=False),
    equations="2·sigmoid(30·[Re X, Im X]/peak) − 1; mean over sizes of ‖H(x) − H(s)‖² / ‖H(s)‖²",
    figure="preferred by listeners over earlier parametric methods; its authors give no number of weights",
    cost=Cost(evaluation_s=40),
    device="a GPU, or fewer filters",
)
