"""Sound to sound: audio, spectra, features, targets, losses, solvers and segments.

Everything here but `engine.audio` imports with torch, torchaudio and numpy alone.
Tensor convention: audio is float32 ``[channels, samples]``, spectra are ``[batch, bins, frames]``.
"""

import os

# OpenMP's threads spin while they wait for one another.  Where another program wants a core (a DAW, say) that made a
# render fifteen times slower; waiting passively costs nothing measurable.  It has to be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
