"""The default recipe; its method is `engine.methods.kernel`."""

from engine.recipe import COMMON, Cost, Real, Recipe, Whole

RECIPE = Recipe(
    name="kernel",
    title="The infinitely wide random network, exactly",
    source="Gramophone; the limit of Ulyanov & Lebedev 2016 in closed form (arc-cosine kernel, Cho & Saul 2009)",
    use="the default: any stem, any sound",
    words=("log magnitude at three resolutions", "arc-cosine kernel of 11-frame patches", "waveform L-BFGS"),
    module="engine.methods.kernel",
    params={
        "max_s": Real(12.0, 1, 600, "seconds of the references a preset keeps"),
        "warm": Whole(0, 0, 1000, "draft: evaluations of a warm start, which takes on more style and keeps less pitch"),
        "griffin_lim": Whole(8, 0, 1000, "draft: steps of phase reconstruction after a warm start"),
        "waveform": Whole(8, 1, 1000, "draft: evaluations on the waveform"),
        "alpha": Real(0.05, 0, 1000, "draft: weight of the stem"),
        # The guards of all recipes; a loss with resolutions, rhythm and smoothness of its own needs no more of them.
        **{name: COMMON[name] for name in ("phase", "transients", "bass_hz")},
    },
    equations="three squared MMDs of 11-frame patches with kernel κ², over their values at the stem; docs/SOUND.md",
    figure="equal to the mean of explicit networks: 8192 filters come within 2.5 %",
    cost=Cost(second_s=0.2),
)
