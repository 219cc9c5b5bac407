"""A vision transformer once more, head by head, whose attention weights can be bumped."""

import math

import torch


def tokens_by_hand(model, image, bump=None):
    """Tokens after each block, and each head's weights, of one image; `bump` adds a number to one weight."""
    x, tokens, weights = model.embed(image[None])[0], [], []
    for layer, block in enumerate(model.blocks):
        normed = norm(x, block.norm1)
        attention, width = block.attention, x.shape[1] // block.attention.heads
        outputs, of_layer = [], []
        for head in range(attention.heads):
            rows = slice(head * width, (head + 1) * width)
            query, key, value = (
                normed @ part.weight[rows].T + part.bias[rows]
                for part in (attention.query, attention.key, attention.value)
            )
            exponentials = (query @ key.T / math.sqrt(width)).exp()
            matrix = exponentials / exponentials.sum(1, keepdim=True)
            if bump is not None and bump[:2] == (layer, head):
                matrix = matrix.clone()
                matrix[bump[2], bump[3]] += bump[4]
            outputs.append(matrix @ value)
            of_layer.append(matrix)
        x = x + torch.cat(outputs, dim=1) @ attention.out.weight.T + attention.out.bias
        hidden = norm(x, block.norm2) @ block.mlp.up.weight.T + block.mlp.up.bias
        active = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + active @ block.mlp.down.weight.T + block.mlp.down.bias
        tokens.append(x)
        weights.append(torch.stack(of_layer))
    return tokens, weights


def norm(x, layer):
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def read(model, x):
    """Logits of CLS."""
    return norm(x[:1], model.norm)[0] @ model.head.weight.T + model.head.bias


@torch.no_grad()
def differences(model, image, score, step=1e-5):
    """Weights (layers, heads, n, n), and the gradient of `score(tokens)` for each, by central differences."""
    _, weights = tokens_by_hand(model, image)
    gradient = torch.zeros_like(torch.stack(weights))
    for place in torch.cartesian_prod(*(torch.arange(size) for size in gradient.shape)).tolist():
        up, down = (score(tokens_by_hand(model, image, (*place, sign * step))[0]) for sign in (1, -1))
        gradient[tuple(place)] = (up - down) / (2 * step)
    return torch.stack(weights), gradient
