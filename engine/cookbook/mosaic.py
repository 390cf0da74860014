"""Driedger, Prätzlich & Müller 2015, 'Let it Bee': the stem rebuilt from frames of the style."""

from engine.recipe import Cost, Given, Part, Recipe, Whole

RECIPE = Recipe(
    name="mosaic",
    title="Let it Bee: the stem from frames of the style",
    source="Driedger, Prätzlich & Müller 2015, 'Let it Bee: towards NMF-inspired audio mosaicing'",
    use="the style's own sound, grain and all, following the stem; pitch is what it costs",
    params={
        "iterations": Whole(20, 2, 1000, "updates of the activations"),
        "settling": Whole(
            10, 0, 1000, "further updates in which what is still played finds its level; 0: as published"
        ),
        "repetition": Whole(7, 0, 100, "frames around a frame of the style's use in which it is not used again"),
        "polyphony": Whole(10, 1, 1000, "frames of the style that sound at once"),
        "continuity": Whole(3, 0, 100, "neighbours before and after that are played along"),
        "semitones": Whole(6, 0, 24, "how far the style is transposed up and down to reach the stem's pitches"),
    },
    solver=Part(
        "mosaic",
        iterations=Given("iterations"),
        settling=Given("settling"),
        repetition=Given("repetition"),
        polyphony=Given("polyphony"),
        continuity=Given("continuity"),
        semitones=Given("semitones"),
    ),
    equations="H ← C ⊙ Wᵀ(V / WC) / Wᵀ1 with C from H by repetition, polyphony and continuity; W fixed, W complex · H",
    figure="on real recordings style distance 0.232 and pitch distance 0.630 (Cífka 2021), untreated 0.496 and 0; the "
    "divergence is convex in H, with a floor that the style's frames set: half of its start for a piano from bells, a "
    "tenth for one from its own scale",
    blends="frames of all styles would lie side by side, and nothing in them knows of shares; learn one preset from "
    "several references instead",
    cost=Cost(second_s=0.04),
)
