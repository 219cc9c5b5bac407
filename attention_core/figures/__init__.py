"""Interactive figures and quizzes. Needs the extra `figures` (ipywidgets, anywidget)."""

from attention_core.figures import base
from attention_core.figures.alignment_explorer import AlignmentExplorer, AlignmentView
from attention_core.figures.alignment_score import AlignmentScore, AlignmentScoreView
from attention_core.figures.base import Figure, Heading
from attention_core.figures.block_sparsity import BlockSparsity, BlockSparsityView
from attention_core.figures.bottleneck import Bottleneck, BottleneckView
from attention_core.figures.bottleneck_measured import BottleneckMeasured, BottleneckMeasuredView
from attention_core.figures.class_maps import ClassMaps, ClassMapsView
from attention_core.figures.faithfulness import Faithfulness, FaithfulnessView
from attention_core.figures.flash_tiling import FlashTiling, FlashTilingView
from attention_core.figures.gallery import map_gallery
from attention_core.figures.geometry import Geometry, GeometryView
from attention_core.figures.head_ablation import HeadAblation, HeadAblationView
from attention_core.figures.head_picker import HeadPicker, HeadPickerView
from attention_core.figures.mask_editor import MaskEditor, MaskEditorView
from attention_core.figures.outer_product_memory import OuterProductMemory, OuterProductMemoryView
from attention_core.figures.permutation import Permutation, PermutationView
from attention_core.figures.pixel_attention import PixelAttention, PixelAttentionView
from attention_core.figures.quiz import STYLE, Quiz
from attention_core.figures.randomized_model import RandomizedModel, RandomizedModelView
from attention_core.figures.rollout import Rollout, RolloutView
from attention_core.figures.roofline import Roofline, RooflineView
from attention_core.figures.soft_to_hard import SoftToHard, SoftToHardView
from attention_core.figures.timeline import Timeline, TimelineView
from attention_core.figures.training_scrubber import TrainingScrubber, TrainingScrubberView
from attention_core.figures.variant_table import VariantTable, VariantTableView
from attention_core.figures.vit_heads import VitHeads, VitHeadsView
from attention_core.figures.why_sqrt_d import WhySqrtD, WhySqrtDView

__all__ = [
    "FIGURES",
    "AlignmentExplorer",
    "AlignmentScore",
    "BlockSparsity",
    "Bottleneck",
    "BottleneckMeasured",
    "ClassMaps",
    "Faithfulness",
    "Figure",
    "FlashTiling",
    "Geometry",
    "HeadAblation",
    "HeadPicker",
    "MaskEditor",
    "OuterProductMemory",
    "Permutation",
    "PixelAttention",
    "Quiz",
    "RandomizedModel",
    "Rollout",
    "Roofline",
    "SoftToHard",
    "Timeline",
    "TrainingScrubber",
    "VariantTable",
    "VitHeads",
    "WhySqrtD",
    "map_gallery",
    "modules",
    "stylesheet",
]

FIGURES: dict[str, type[Figure]] = {
    figure.name: figure
    for figure in (
        AlignmentExplorer,
        AlignmentScore,
        SoftToHard,
        WhySqrtD,
        Permutation,
        Geometry,
        MaskEditor,
        VariantTable,
        OuterProductMemory,
        BlockSparsity,
        Roofline,
        FlashTiling,
        Timeline,
        TrainingScrubber,
        Bottleneck,
        BottleneckMeasured,
        PixelAttention,
        ClassMaps,
        Faithfulness,
        RandomizedModel,
        VitHeads,
        Rollout,
        HeadPicker,
        HeadAblation,
    )
}


def stylesheet() -> str:
    """The style of everything in this package, once: what a site links instead of a copy a figure."""
    files = sorted(path.stem for path in base.HERE.glob("*.css") if path.stem not in (*base.SHARED, "quiz"))
    sheets = [base.HERE / f"{stem}.css" for stem in (*base.SHARED, *files)]
    return "".join(sheet.read_text(encoding="utf-8") for sheet in sheets) + STYLE


def modules() -> list[str]:
    """The ES modules that figures may put into a page's widget state."""
    return [
        str(view._esm)
        for view in (
            Heading,
            AlignmentView,
            AlignmentScoreView,
            SoftToHardView,
            WhySqrtDView,
            PermutationView,
            GeometryView,
            MaskEditorView,
            VariantTableView,
            OuterProductMemoryView,
            BlockSparsityView,
            RooflineView,
            FlashTilingView,
            TimelineView,
            TrainingScrubberView,
            BottleneckView,
            BottleneckMeasuredView,
            PixelAttentionView,
            ClassMapsView,
            FaithfulnessView,
            RandomizedModelView,
            VitHeadsView,
            RolloutView,
            HeadPickerView,
            HeadAblationView,
        )
    ]
