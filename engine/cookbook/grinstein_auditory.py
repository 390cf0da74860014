"""McDermott & Simoncelli's texture statistics as Grinstein et al. 2018 use them: from the stem, style alone."""

from engine.recipe import Cost, Given, Part, Real, Recipe, Term, Whole

_VIEW = Part("waveform")
_COCHLEA = Part("cochlea", bands=Given("bands"))

RECIPE = Recipe(
    name="grinstein-auditory",
    title="Statistics of the ear's envelopes",
    source="Grinstein et al. 2018, 'Audio style transfer'; McDermott & Simoncelli 2011",
    use="textures: rain, crowds, machines; local grain rather than spectrum",
    params={
        "bands": Whole(32, 4, 64, "cochlear filters from 52 Hz to 8.8 kHz"),
        "levels": Real(10.0, 0, 1000, "weight of the mean of each envelope"),
        "marginals": Real(1.0, 0, 1000, "weight of their variance, skewness and kurtosis"),
        "correlations": Real(1.0, 0, 1000, "weight of correlations between bands"),
        "modulations": Real(1.0, 0, 1000, "weight of the power of 20 modulation filters"),
        "octaves": Real(1.0, 0, 1000, "weight of correlations of modulations, between bands and between octaves"),
        "iterations": Whole(60, 1, 100_000, "evaluations of the loss"),
    },
    terms=(
        Term(_VIEW, _COCHLEA, Part("levels"), weight=Given("levels"), unit="stem"),
        Term(_VIEW, _COCHLEA, Part("marginals"), weight=Given("marginals"), unit="stem"),
        Term(_VIEW, _COCHLEA, Part("cross-correlations"), weight=Given("correlations"), unit="stem"),
        Term(_VIEW, _COCHLEA, Part("modulation-power"), weight=Given("modulations"), unit="stem"),
        Term(_VIEW, _COCHLEA, Part("modulation-correlations"), weight=Given("octaves"), unit="stem"),
    ),
    solver=Part("waveform", iterations=Given("iterations")),
    equations="for each block ‖S(x) − S(s)‖² / ‖S(s)‖² over its value at the stem; from the stem, no content term",
    figure="Grinstein et al.: of four models the best local texture",
    cost=Cost(evaluation_s=0.12),
)
