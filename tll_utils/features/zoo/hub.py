"""Image towers of KerasHub's CLIP, SigLIP 2, DINOv2 and DINOv3, for the optional extra `hub`.

A preset is a folder with `config.json` and `model.weights.h5`. KerasHub downloads one by its name,
`keras_hub.models.Backbone.from_preset("clip_vit_base_patch32")`; what it keeps is found here.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import keras
from keras import ops

NUM_BLOCKS = 12
TAPS = (*(f"map_{i}" for i in (2, 5, 7, 8, 9, 10, 11)), "embedding")
SIZE = (224, 224)  # positions are learned for it, so it cannot be another
WEIGHTS = "model.weights.h5"


def is_installed() -> bool:
    """Whether KerasHub is there; it is not imported."""
    return importlib.util.find_spec("keras_hub") is not None


def downloaded(preset: str) -> Path | None:
    """The weight file of a preset that KerasHub has downloaded from Kaggle, the newest version."""
    root = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    found = sorted(root.glob(f"models/keras/*/keras/{preset}/*/{WEIGHTS}"))
    return found[-1] if found else None


@keras.saving.register_keras_serializable(package="tll_utils")
class PatchMap(keras.layers.Layer):
    """Tokens `(batch, n, d)` → map `(batch, side, side, d)`, without those in front of the patches.

    Args:
        side: Int, patches per side.
    """

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side = side

    def call(self, tokens: Any) -> Any:
        patches = tokens[:, -(self.side**2) :]
        return ops.reshape(patches, (-1, self.side, self.side, tokens.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


def image_tower(
    kind: str,
    *,
    patch: int,
    width: int,
    weights: str | None,
    input_shape: tuple[int, int, int],
    include_top: bool = False,
) -> keras.Model:
    """Builds the image half of a network as functional Keras.

    Args:
        kind: `"CLIP"`, `"SigLIP"`, `"DINOV2"` or `"DINOV3"`.
        patch: Int, pixels per side of a patch.
        width: Int, numbers per token; only random networks are told.
        weights: Path of the weight file inside a preset, or `None` for random weights.
        input_shape: Height, width, 3.
        include_top: Ignored; `keras.applications` has it.

    Returns:
        Preprocessed images → embedding `(batch, d)`. `maps` holds the tensors of the blocks.

    Raises:
        ModuleNotFoundError: If KerasHub is not installed; says how to.
    """
    if weights is None:
        whole = _random(kind, patch, width, input_shape)
    else:
        whole = _load(kind, weights, input_shape)
    tower = getattr(whole, "vision_encoder", whole)
    image = keras.Input(input_shape, name="image")
    x, options = getattr(tower, "embedding", None), {}
    if x is not None:  # CLIP and SigLIP
        x = x(image)
        x = tower.pre_layer_norm(x) if kind == "CLIP" else x
        blocks = tower.encoder_layers
    else:
        x, blocks = tower.embeddings(image), tower.encoder.layers
        if kind == "DINOV3":
            options["position_embeddings"] = tower.rope_embedding(image)
            options["num_prefix_tokens"] = 1 + tower.num_register_tokens
    maps = {}
    for i, block in enumerate(blocks):
        block.name = f"block_{i}"
        x = block(x, **options)
        maps[f"map_{i}"] = PatchMap(input_shape[0] // tower.patch_size, name=f"map_{i}")(x)
    model = keras.Model(image, _pooled(kind, whole, tower, x), name=f"{kind.lower()}_tower")
    model.maps = maps
    return model


def _pooled(kind: str, whole: Any, tower: Any, tokens: Any) -> Any:
    """What the network itself compares: one vector per image."""
    if kind == "SigLIP":
        return tower.head(tower.post_layer_norm(tokens))
    if kind == "CLIP":
        first = tower.layer_norm(tokens)[:, 0]
        return whole.vision_projection(first) if whole is not tower else first
    return tower.layernorm(tokens)[:, 0]


def _hub() -> Any:
    if not is_installed():
        raise ModuleNotFoundError("This network needs KerasHub: pip install 'tll-utils[hub]'")
    import keras_hub

    return keras_hub


def _load(kind: str, weights: str, shape: tuple[int, int, int]) -> Any:
    # DINO's positions can be computed for any size; the presets are made for a larger one.
    options = {"image_shape": shape} if kind.startswith("DINO") else {}
    return _hub().models.Backbone.from_preset(str(Path(weights).parent), **options)


def _random(kind: str, patch: int, width: int, shape: tuple[int, int, int]) -> Any:
    hub, options = _hub(), {"patch_size": patch, "hidden_dim": width, "image_shape": shape}
    options |= {"num_layers": NUM_BLOCKS, "num_heads": width // 64, "intermediate_dim": 4 * width}
    name = f"{kind}Backbone" if kind.startswith("DINO") else f"{kind}VisionEncoder"
    return getattr(hub.models, name)(**options)
