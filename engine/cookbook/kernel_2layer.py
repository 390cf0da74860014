"""DeepMix's two layers with infinitely many filters each: the arc-cosine kernel of an arc-cosine kernel."""

from engine.cookbook.kept import KEEP, KEEPERS
from engine.recipe import Cost, Given, Part, Recipe, Term, Whole

RECIPE = Recipe(
    name="kernel-2layer",
    title="The infinitely wide random network of two layers, exactly",
    source="Gramophone; the limit of DeepMix's two-layer network in closed form (Cho & Saul 2009, composed)",
    use="gestures of half a second, where one layer hears a quarter: rhythmic and vocal styles",
    params={
        "width": Whole(11, 1, 64, "frames in a patch of either layer"),
        "keep": KEEP,
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(
            Part("log-magnitude", n_fft=2048, folded=True),
            Part("identity"),
            Part("mmd", kernel="two-layer", width=Given("width")),
            unit="stem",
        ),
    ),
    keepers=KEEPERS,
    solver=Part("waveform", iterations=Given("iterations")),
    equations="κ₂ = κ(Σ₂), Σ₂[t, s] = mean over τ of κ(t + τ, s + τ); squared MMD with κ₂²",
    figure="the mean over networks of the off-diagonal Gram distance tends to this limit, within 1 %",
    cost=Cost(second_s=0.9),
)
