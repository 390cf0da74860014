"""The reference everything is compared with; its method is `engine.methods.ulyanov`."""

from engine.recipe import Recipe

RECIPE = Recipe(
    name="ulyanov",
    title="4096 random filters, Gram matrices, Griffin-Lim",
    source="Ulyanov & Lebedev 2016, 'Audio texture synthesis and style transfer'",
    use="the reference everything is compared with; slow, mono detail lost in phase reconstruction",
    words=("log magnitude", "random 11-frame convolution", "spectrogram L-BFGS", "Griffin-Lim"),
    module="engine.methods.ulyanov",
)
