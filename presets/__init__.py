"""Styles on disk: learn them, keep them in a library, blend them, look at them."""
