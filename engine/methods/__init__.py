"""One module a recipe: how its target is learnt and how a stem is moved towards it (see `engine.method`)."""
