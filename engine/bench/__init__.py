"""Measurements of the engine on generated material: speed, memory, sound, and what bounds them."""
