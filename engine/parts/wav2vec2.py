"""The feature extractor of wav2vec2, seven convolutions of a waveform at 16 kHz (Baevski et al. 2020).

The architecture is torchaudio's.  Kanak's project takes the convolutions' outputs before their activation, feeds them
files at any rate and normalises after the activation; ours takes the same outputs of the network as it was trained:
16 kHz, normalisation before the activation.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import gelu
from torchaudio.models import wav2vec2_model  # type: ignore[import-untyped]

from engine import weights as store
from engine.layouts import WAV2VEC2
from engine.parts.features import Maps, Network
from engine.parts.networks import longer

RATE_HZ = 16000
#: To the unit variance that it was trained on, from the analysis level.
SCALE = 10.0
REACH, STRIDE = 400, 320


@dataclass(frozen=True)
class Wav2vec2:
    """All seven layers before their activation; ``weights`` are ``wav2vec2`` or ``random``.

    The view is the waveform at 16 kHz with unit variance.
    """

    weights: str = "wav2vec2"

    def check(self) -> None:
        """See `engine.parts.features.Needy`."""
        store.check(self.weights)

    def ready(self, view: Tensor, rate: int, seed: int) -> Network:
        """Load the weights, or draw them."""
        extractor = wav2vec2_model(
            extractor_mode="group_norm",
            extractor_conv_layer_config=[(512, kernel, stride) for kernel, stride in WAV2VEC2],
            extractor_conv_bias=False,
            # of the rest, which nobody listens to, as little as there can be
            encoder_embed_dim=4,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=1,
            encoder_pos_conv_groups=1,
            encoder_num_layers=1,
            encoder_num_heads=1,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=1,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=False,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        ).feature_extractor
        named = {}
        for key, tensor in store.tensors("wav2vec2", self.weights, seed).items():
            name, _, part = key.partition(".")
            layer = name[-1]
            named[f"conv_layers.{layer}.{'conv' if name.startswith('conv') else 'layer_norm'}.{part}"] = tensor
        extractor.load_state_dict(named)
        extractor = extractor.to(view).eval().requires_grad_(False)

        def layers(v: Tensor) -> list[Maps]:
            values, found = longer(v[:, :, 0], REACH), []
            for number, block in enumerate(extractor.conv_layers):
                values = block.conv(values)
                found.append(Maps(values[:, :, None], width=0, share=1 / len(WAV2VEC2), name=f"conv{number}"))
                values = gelu(block.layer_norm(values) if block.layer_norm is not None else values)
            return found

        return layers
