"""The stem, untouched; its method is `engine.methods.identity`."""

from engine.recipe import Recipe

RECIPE = Recipe(
    name="identity",
    title="The stem, untouched",
    source="for tests",
    use="checking everything around the engine",
    module="engine.methods.identity",
    hidden=True,
)
