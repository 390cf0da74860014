"""What recipes of ours keep of the stem; a part of the cookbook that is no recipe."""

from engine.recipe import Given, Keeper, Part, Real

KEEP = Real(1.0, 0, 1000, "weight of the stem's pitch, rhythm and levels; 0: style alone, as published")
#: Measured over nine pairs beside a style term of 1.
KEEPERS = (
    Keeper(Part("chroma"), Given("keep", 1.0)),
    Keeper(Part("whitened"), Given("keep", 0.05)),
    Keeper(Part("rhythm"), Given("keep", 0.3)),
    Keeper(Part("energy"), Given("keep", 0.03)),
)
