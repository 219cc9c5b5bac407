"""ViT: an image as a sequence of patches, read by a transformer encoder."""

from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_core.models import shelf
from attention_core.models.vit import checkpoint
from attention_core.models.vit.block import Block
from attention_core.models.vit.images import check_images, check_keep
from attention_core.models.vit.options import checked_options, pair

KIND = "vit"  # what its files say that they hold


class ViT(nn.Module):
    r"""Vision transformer, of Dosovitskiy et al. (2020), equations 1 to 4.

    $z^0 = [x_{cls};\ x_{dist};\ r_1; \dots; r_R;\ E p_1; \dots; E p_N]$, positions added to all but the
    registers r; $z^{l+1} = \mathrm{block}_l(z^l)$ as in `Block`; logits $W\,\mathrm{norm}(z^L)_{cls} + b$.

    $p_i$ are the image's patches, row by row from the top, in their colours less `mean` over `std`.
    CLS comes first, then, where there are any, the distillation token (Touvron et al. 2020, DeiT) and the
    registers (Darcet et al. 2023): `prefix` tokens in all, before the patches.

    Parameters
    ----------
    image_size, patch
        In pixels, one number for a square or (height, width); the patch divides the image.
    channels, width, depth, heads, hidden
        Colours, features of a token, blocks, heads in each, and features inside each block's network, 4
        `width` if not given.
    classes
        Names, or how many. With none, 0, there is no `head`, and `forward` gives the features that it
        would read: of a model that was trained without labels.
    registers, distilled
        How many registers there are, and whether there is a distillation token.
    pool
        What the head reads, after the last norm: "cls"; "cls_and_mean", with the mean of the patches beside
        it (DINOv2, Oquab et al. 2023); "cls_and_distilled", two heads for two tokens, whose logits are
        averaged (DeiT). If not given the last where `distilled`, else the first.
    eps, layer_scale, gated, bias
        Of the norms; whether there are `LayerScale`s; whether the blocks' networks are `GatedFeed`s; whether
        query, key and value have a bias.
    mean, std
        Of the colours: one number, or one a channel.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 48,
        patch: int | Sequence[int] = 6,
        channels: int = 3,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        classes: int | Sequence[str] = 8,
        registers: int = 0,
        distilled: bool = False,
        pool: str | None = None,
        eps: float = 1e-6,
        layer_scale: bool = False,
        gated: bool = False,
        bias: bool = True,
        mean: Real | Sequence[Real] = 0.5,
        std: Real | Sequence[Real] = 0.5,
    ):
        super().__init__()
        self.options = checked_options(
            image_size=image_size, patch=patch, channels=channels, width=width, depth=depth, heads=heads,
            hidden=4 * width if hidden is None else hidden, classes=classes, registers=registers,
            distilled=distilled, pool=pool, eps=eps, layer_scale=layer_scale, gated=gated, bias=bias,
            mean=mean, std=std,
        )  # fmt: skip
        options = self.options
        self.image_size, self.patch = tuple(options["image_size"]), tuple(options["patch"])
        self.classes, self.pool = tuple(options["classes"]), options["pool"]
        self.channels, self.width, self.registers, self.distilled = channels, width, registers, distilled

        rows, columns = self.grid
        self.embedding = nn.Conv2d(channels, width, self.patch, stride=self.patch)  # E, one step a patch
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.distillation_token = nn.Parameter(torch.zeros(width)) if distilled else None
        self.register_tokens = nn.Parameter(torch.zeros(registers, width)) if registers else None
        self.positions = nn.Parameter(torch.zeros(1 + distilled + rows * columns, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, options["hidden"], eps=eps, layer_scale=layer_scale, gated=gated, bias=bias)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.head = self.distillation_head = None
        if self.classes:
            self.head = nn.Linear(width * (2 if self.pool == "cls_and_mean" else 1), len(self.classes))
            if self.pool == "cls_and_distilled":
                self.distillation_head = nn.Linear(width, len(self.classes))
        self.reset_parameters()

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        (height, width), (patch_height, patch_width) = self.image_size, self.patch
        return height // patch_height, width // patch_width

    @property
    def prefix(self) -> int:
        """Tokens before the patches: CLS, distillation, registers."""
        return 1 + self.distilled + self.registers

    def reset_parameters(self) -> None:
        """All normal, of standard deviation 0.02, but the embedding, which is Glorot-uniform; biases 0.

        Under matrices this small attention begins even and blocks begin near the identity. Of three models
        shapes-vit two then learned to decide in the last block; after Glorot's matrices none did.
        """
        for parameter in (self.cls_token, self.distillation_token, self.register_tokens, self.positions):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1))  # a view: the convolution's as a matrix
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self,
        images: Float[Tensor, "batch {self.channels} height width"],
        keep: Bool[Tensor, "batch patches"] | None = None,
    ) -> Float[Tensor, "batch outputs"]:
        """Logits of images in [0, 1]; of a model without classes the features before any head.

        `keep` says which patches stay, row by row. The others are not blackened but gone: no token attends
        to them, and no mean counts them. The tokens before the patches always stay.
        """
        check_images(images, self.channels, self.image_size, self.cls_token.dtype)
        tokens, mask = self.embed(images), self.mask(images, keep)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return self.classify(tokens, keep)

    def embed(
        self, images: Float[Tensor, "batch {self.channels} height width"]
    ) -> Float[Tensor, "batch n {self.width}"]:
        """The tokens that the first block reads, `prefix` of them before those of the patches."""
        mean, std = (images.new_tensor(self.options[name])[:, None, None] for name in ("mean", "std"))
        patches = self.embedding((images - mean) / std).flatten(2).mT  # (batch, rows * columns, width)
        own = 1 + self.distilled
        first = (
            [self.cls_token] if self.distillation_token is None else [self.cls_token, self.distillation_token]
        )
        prefix = torch.stack(first) + self.positions[:own]
        if self.register_tokens is not None:
            prefix = torch.cat([prefix, self.register_tokens])
        return torch.cat([prefix.expand(len(images), -1, -1), patches + self.positions[own:]], dim=1)

    def mask(self, images: Tensor, keep: Tensor | None) -> Bool[Tensor, "batch 1 1 n"] | None:
        """For the blocks: True for the tokens that exist, the prefix among them."""
        if keep is None:
            return None
        rows, columns = self.grid
        check_keep(keep, len(images), rows * columns)
        return torch.cat([keep.new_ones(len(keep), self.prefix), keep], dim=1)[:, None, None]

    def classify(
        self, tokens: Float[Tensor, "batch n {self.width}"], keep: Bool[Tensor, "batch patches"] | None = None
    ) -> Float[Tensor, "batch outputs"]:
        """What the last norm and the head make of tokens, those of the last block or of one before it."""
        tokens = self.norm(tokens)
        features = self.pooled(tokens, keep)
        if self.head is None:
            return features
        logits = self.head(features)
        if self.distillation_head is not None:
            logits = (logits + self.distillation_head(tokens[:, 1])) / 2
        return logits

    def pooled(
        self, tokens: Float[Tensor, "batch n {self.width}"], keep: Bool[Tensor, "batch patches"] | None = None
    ) -> Float[Tensor, "batch features"]:
        """What the head reads of normed tokens."""
        if self.pool != "cls_and_mean":
            return tokens[:, 0]
        patches = tokens[:, self.prefix :]
        if keep is None:
            mean = patches.mean(1)
        else:  # of none kept the mean is 0
            kept = patches.masked_fill(~keep[..., None], 0.0)
            mean = kept.sum(1) / keep.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([tokens[:, 0], mean], dim=1)

    def save(self, path: Path | str) -> None:
        """Write parameters and options to one file, which `load` reads."""
        shelf.save(Path(path), KIND, {"options": self.options}, self.state_dict())

    @classmethod
    def load(cls, path: Path | str) -> "ViT":
        """A model that was saved, in its dtype, ready to use; a damaged file is refused with the remedy."""
        facts, tensors = shelf.read(Path(path), KIND)
        model = cls(**facts["options"]).to(tensors["cls_token"].dtype)
        model.load_state_dict(tensors)
        return model.eval()

    @classmethod
    def from_huggingface(
        cls,
        directory: Path | str,
        *,
        image_size: int | Sequence[int] | None = None,
        mean: Real | Sequence[Real] | None = None,
        std: Real | Sequence[Real] | None = None,
    ) -> "ViT":
        """A checkpoint of `transformers`: ViT, DINO, DeiT, or DINOv2 with registers or without.

        Everything is taken from its config.json, the norms' eps too, and `mean` and `std` of the colours from
        its preprocessor_config.json. Without labels, as DINO comes, there is no head, and `forward` gives
        the last CLS token.

        Parameters
        ----------
        directory
            A folder as `save_pretrained` leaves it, or a name, such as "facebook/dino-vits16", that
            `huggingface_hub` can fetch.
        image_size
            If other than the config's: the positions are interpolated bicubically, once and for all.
        mean, std
            If other than the file's.

        A key that is missing, left over or of another shape than config.json says raises `ValueError`.
        """
        folder = checkpoint.found(directory)
        config, tensors = checkpoint.read(folder)
        options = checkpoint.options_of(config, tensors, checkpoint.colours(folder, mean, std))
        model = cls(**options).to(next(iter(tensors.values())).dtype)
        kind = config["model_type"]
        model.load_state_dict(checkpoint.renamed(tensors, model.state_dict(), kind, gated=options["gated"]))
        if image_size is not None and tuple(pair("image_size", image_size)) != model.image_size:
            model = model.resized(image_size, smooth=kind == "dinov2_with_registers")
        return model.eval()

    def resized(self, image_size: int | Sequence[int], *, smooth: bool = False) -> "ViT":
        """The same model for images of another size: of the positions those of patches are interpolated.

        Bicubically; `smooth` filters before a grid gets smaller.
        """
        model = ViT(**self.options | {"image_size": image_size}).to(self.cls_token.dtype)
        own = 1 + self.distilled
        positions = checkpoint.resized(self.positions.detach(), own, self.grid, model.grid, smooth)
        model.load_state_dict(self.state_dict() | {"positions": positions})
        return model.train(self.training)
