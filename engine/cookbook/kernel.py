"""The default recipe; its method is `engine.methods.kernel`."""

from engine.recipe import Recipe

RECIPE = Recipe(
    name="kernel",
    title="The infinitely wide random network, exactly",
    source="Gramophone; the limit of Ulyanov & Lebedev 2016 in closed form (arc-cosine kernel, Cho & Saul 2009)",
    use="the default: any stem, any sound",
    words=("log magnitude at three resolutions", "arc-cosine kernel of 11-frame patches", "waveform L-BFGS"),
    module="engine.methods.kernel",
)
