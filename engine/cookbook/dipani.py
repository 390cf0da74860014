"""Dipani's style-only transfer: a linear layer, no content loss, the stem as the start.

As published Adam takes 2 500 steps of at most 0.03, which is the distance to go and more; ours is L-BFGS.  Published
spectrograms are clamped to 0…1 at every step, which cuts what is louder (2 % of the energy survives): ``clamp`` shows
that, and is off.  Both sides may have any length, as Gram matrices are means.
"""

from engine.recipe import YES_NO, Choice, Cost, Given, Part, Recipe, Term, Whole

RECIPE = Recipe(
    name="dipani",
    title="Style only, from the stem, through a linear layer",
    source="Dipani, post on style-only audio transfer (code alishdipani)",
    use="spectral colour without noise; no content loss, so few iterations keep more of the stem",
    params={
        "filters": Whole(4096, 1, 65536, "random filters"),
        "clamp": Choice(False, YES_NO, "cut log magnitudes to 0…1, as the published code does"),
        "iterations": Whole(100, 1, 100_000, "evaluations of the loss"),
        "griffin_lim": Whole(500, 0, 100_000, "steps of phase reconstruction"),
    },
    terms=(
        Term(
            Part("log-magnitude", n_fft=2048),
            Part("linear", filters=Given("filters"), width=3),
            Part("gram", scale="mean"),
            weight=(2500 / 4096) ** 2,
        ),
    ),
    solver=Part("spectrogram", iterations=Given("iterations"), clamped=Given("clamp")),
    rendering=Part("griffin-lim", steps=Given("griffin_lim")),
    equations="mean squared difference of Gram matrices of w * log(1+a) + b; their limit is kernel-linear",
    figure="12,599,296 parameters; clamped, the loud bins are gone",
    cost=Cost(evaluation_s=0.5),
)
