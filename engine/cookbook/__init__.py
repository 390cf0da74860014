"""The recipes, one file each: what it is, whose it is, when to use it, and the parts it is made of. Data only."""
