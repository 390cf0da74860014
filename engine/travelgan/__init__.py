"""TraVeLGAN on spectrogram pieces: a mapping between two sets of sounds, learnt once and then played at once.

Amodio & Krishnaswamy 2019, 'TraVeLGAN: Image-to-image translation by transformation vector learning'; for sound Pasini
2019, 'MelGAN-VC: Voice conversion and audio style transfer on arbitrarily long samples using spectrograms'.

A generator turns pieces of a mel spectrogram of one set into pieces of the other.  A critic hears three of them (or
two) side by side, so that they have to fit; a siamese network keeps what lies between two pieces of one sound: the
vector from one to the other is the same before and after (`engine.travelgan.losses`).
"""

from engine.travelgan.networks import Critic, Generator, Siamese

__all__ = ["Critic", "Generator", "Siamese"]
