"""Networks that `keras.applications` leaves out, or leaves without names to tap."""

from tll_utils.features.zoo import (
    alexnet,
    convnext,
    efficientnet_lite,
    inception_resnet_v1,
    resnet18,
)

__all__ = ["alexnet", "convnext", "efficientnet_lite", "inception_resnet_v1", "resnet18"]
