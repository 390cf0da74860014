"""Sound to sound: audio, spectra, features, targets, losses, solvers and segments.

Everything here but `engine.audio` and what it is made of imports with torch, torchaudio and numpy alone.
Tensor convention: audio is float32 ``[channels, samples]``, spectra are ``[batch, bins, frames]``.
"""
