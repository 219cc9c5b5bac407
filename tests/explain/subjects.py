"""Small models and images in float64, whose every parameter is drawn, so that nothing is 0 by chance."""

import torch
from torch import nn

from attention_core.models import ViT

DTYPE = torch.float64


def scattered(model, spread=0.4):
    """Random parameters throughout: as built, biases are 0, and attention is nearly even."""
    for name, parameter in model.named_parameters():
        nn.init.normal_(
            parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=spread
        )
    return model.to(DTYPE).eval()


def vit(**options):
    """Four classes, two rows and three columns of patches."""
    sizes = {
        "image_size": (12, 18),
        "patch": 6,
        "width": 8,
        "depth": 3,
        "heads": 2,
        "classes": 4,
        "hidden": 12,
    }
    return scattered(ViT(**(sizes | options)))


def pictures(batch=3, height=12, width=18):
    return torch.rand(batch, 3, height, width, dtype=DTYPE)


def assert_near(actual, expected, atol=1e-10):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)
