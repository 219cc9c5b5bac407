import json
import shutil

import numpy as np
import pytest
import torch

from attention_core.figures import BlockSparsity, base, stylesheet
from attention_core.figures.block_sparsity import OWN, TILES, masks
from attention_core.figures.block_sparsity_static import FILLS, describe, of_tile
from attention_core.flash import create_block_mask, flash_attention

from ..browser import serving
from .test_in_browser import ROOT, slide, visit, write  # noqa: F401

MODULE = base.module("block_sparsity")
CUT = "({n, tile, kinds, may}) => ({n, tile, kinds, may: (i, j) => may[i][j]})"
NAMES = list(masks(64))


def scattered(b, h, q_idx, kv_idx):
    """Neither ordered nor symmetric, with rows that may read nothing."""
    return ((q_idx * 7 + kv_idx * 13) % 11 < 2) & (q_idx % 5 != 3)


@pytest.fixture(scope="module")
def figure():
    return BlockSparsity()


@pytest.fixture(scope="module")
def own():
    return BlockSparsity(scattered, n=50)


def positions(figure):
    """Every position of the controls."""
    for name in figure.masks:
        for tile in TILES:
            yield name, tile


def sent(figure, name, tile):
    """Mask and kinds as they travel to the view."""
    n, index = figure.n, list(figure.masks).index(name)
    size = -(-n * n // 8)
    bits = np.frombuffer(figure.view.pairs, np.uint8)[index * size : (index + 1) * size]
    counts = [(-(-n // t)) ** 2 for t in TILES]
    start = index * sum(counts) + sum(counts[: tile - TILES[0]])
    kinds = np.frombuffer(figure.view.kinds, np.uint8)[start : start + counts[tile - TILES[0]]]
    return np.unpackbits(bits)[: n * n].reshape(n, n).astype(bool), kinds.reshape(-(-n // tile), -1)


def tiles_of(mask, kinds, tile):
    for (r, c), kind in np.ndenumerate(kinds):
        yield kind, mask[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile]


@pytest.mark.parametrize("given", ["figure", "own"])
def test_empty_tiles_hold_no_allowed_pair_and_full_tiles_hold_all(given, request):
    figure = request.getfixturevalue(given)
    for name, tile in positions(figure):
        mask, kinds = sent(figure, name, tile)
        for kind, pairs in tiles_of(mask, kinds, tile):
            found = 2 if pairs.all() else 1 if pairs.any() else 0
            assert kind == found, (name, tile)


@pytest.mark.parametrize("given", ["figure", "own"])
def test_counts_are_the_librarys_at_every_position_of_the_controls(given, request, javascript):
    figure = request.getfixturevalue(given)
    for i, name in enumerate(figure.masks):
        for k, tile in enumerate(TILES):
            blocks = create_block_mask(
                figure.masks[name].mask_mod, None, None, figure.n, figure.n, block=tile
            )
            mask, kinds = sent(figure, name, tile)
            np.testing.assert_array_equal(mask, blocks.dense()[0, 0])
            np.testing.assert_array_equal(kinds, blocks.kinds[0, 0])
            at = figure.tallies[i][k]
            assert {"empty": at.empty, "partial": at.partial, "full": at.full} == blocks.counts
            assert at.empty / at.tiles == blocks.sparsity
            assert at.tiles == blocks.kinds.numel()
            in_tiles = [pairs.size * (kind > 0) for kind, pairs in tiles_of(mask, kinds, tile)]
            asked = [pairs.size * (kind == 1) for kind, pairs in tiles_of(mask, kinds, tile)]
            assert (at.allowed, at.computed, at.asked) == (mask.sum(), sum(in_tiles), sum(asked))


def test_the_views_own_tally_is_pythons(figure, own, javascript):
    for given in (figure, own):
        for i, name in enumerate(given.masks):
            for tile in (4, 7, 16, 32):
                mask, kinds = sent(given, name, tile)
                cut = {"n": given.n, "tile": tile, "kinds": kinds.ravel().tolist(), "may": mask.tolist()}
                counted = javascript(MODULE, f"(c) => tally(({CUT})(c))", cut)
                at = given.tallies[i][tile - TILES[0]]
                assert counted == at._asdict() | {"tiles": at.tiles}


def test_a_kernel_computes_as_many_pairs_as_the_figure_says(figure):
    """`score_mod` is asked of every pair that is computed."""
    for name, tile in [("causal", 8), ("3 documents", 13), ("causal, every 8th key", 4)]:
        blocks = figure._cut(name, tile)
        seen = 0

        def count(score, b, h, q_idx, kv_idx):
            nonlocal seen
            seen += score.numel()
            return score

        x = torch.zeros(1, 1, 64, 16)
        with torch.no_grad():
            flash_attention(x, x, x, block_mask=blocks, score_mod=count, kernel="numpy")
        index = list(figure.masks).index(name)
        assert seen == figure.tallies[index][tile - TILES[0]].computed


# -- what the reader should discover ---------------------------------------------------------------------


def test_work_follows_tiles_and_not_pairs(figure):
    at = {name: line[8 - TILES[0]] for name, line in zip(figure.masks, figure.tallies, strict=True)}
    window, strided = at["causal, window 4"], at["causal, every 8th key"]
    assert abs(window.allowed - strided.allowed) / window.size < 0.01  # as few pairs
    assert strided.computed > 2 * window.computed
    assert strided.computed == at["causal"].computed  # and as much work as with all of them


def test_small_tiles_waste_less_and_have_longer_tables(figure):
    for line in figure.tallies:
        assert min(line, key=lambda t: t.computed).tile < 6
        assert line[0].tiles > 60 * line[-1].tiles
        assert line[-1].computed > line[0].computed
        assert all(t.computed >= t.allowed for t in line)


def test_powers_of_two_only_ever_waste_more(figure):
    for line in figure.tallies:
        computed = [line[tile - TILES[0]].computed for tile in (4, 8, 16, 32)]
        assert computed == sorted(computed)


# -- code and words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [64, 37])
def test_the_code_makes_the_block_mask_that_is_drawn(name, n):
    figure = BlockSparsity(n=n, mask=name, tile=9)
    space = {"torch": torch, "create_block_mask": create_block_mask}
    exec(figure.code, space)
    made = space["block_mask"]
    assert (made.n, made.m, made.block) == (n, n, (9, 9))
    np.testing.assert_array_equal(made.dense()[0, 0], figure.mask)
    np.testing.assert_array_equal(made.kinds, figure.block_mask.kinds)
    assert made.counts["empty"] == figure.tally.empty


@pytest.mark.filterwarnings("ignore")
def test_flex_attention_sorts_the_tiles_alike():
    from torch.nn.attention.flex_attention import create_block_mask as theirs

    for name, mask in masks(64).items():
        made = theirs(mask.mask_mod, None, None, 64, 64, device="cpu", BLOCK_SIZE=16)
        ours = create_block_mask(mask.mask_mod, None, None, 64, 64, block=16)
        skipped = (made.to_dense()[0, 0] == 0).sum()
        assert skipped == ours.counts["empty"], name
        assert made.full_kv_num_blocks.sum() == ours.counts["full"], name


def test_python_and_javascript_say_the_same(figure, own, javascript):
    for given in (figure, own):
        for line in given.tallies:
            plain = [at._asdict() | {"tiles": at.tiles} for at in line]
            spoken = javascript(MODULE, "(line) => line.map((at) => describe(line, at))", plain)
            assert spoken == [describe(line, at) for at in line]


def test_python_and_javascript_speak_alike_of_a_tile(own, javascript):
    for tile in (4, 16):
        mask, kinds = sent(own, "causal", tile)
        cut = {"n": own.n, "tile": tile, "kinds": kinds.ravel().tolist(), "may": mask.tolist()}
        for (r, c), kind in np.ndenumerate(kinds):
            pairs = int(mask[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile].sum())
            said = of_tile(("empty", "partial", "full")[kind], r, c, own.n, tile, pairs)
            assert javascript(MODULE, f"(c, i, j) => ofTile(({CUT})(c), i, j)", cut, r, c) == said


def test_the_sentence_is_true(figure):
    causal = figure.tallies[0]
    said = describe(causal, causal[4])
    assert said[0] == "51\u00a0% of the pairs are allowed; tiles of 8 compute 56\u00a0%."
    assert said[1] == "28 of 64 tiles hold no allowed pair and are skipped."
    assert said[2] == "224 pairs are computed and thrown away, 10\u00a0% of the work."
    assert said[3].startswith("Tiles of 4 would compute 53\u00a0%, but their table has 256 entries")
    rare = BlockSparsity(mask="3 documents, causal", tile=32)
    rare = describe(rare.tallies[rare.kind.index], rare.tally)
    assert rare[1] == "1 of 4 tiles holds no allowed pair and is skipped."
    dense = BlockSparsity(lambda b, h, q_idx, kv_idx: q_idx >= 0)
    said = describe(dense.tallies[0], dense.tally)
    assert said[1] == "None of the 64 tiles is empty, so nothing is skipped."
    assert said[2] == "No pair is computed for nothing."
    assert said[3] == "Tiles of 32 compute no more, and their table has 4 entries, not 64."
    last = describe(dense.tallies[0], dense.tallies[0][-1])
    assert last[3].startswith("No other size here computes less")
    one = BlockSparsity(lambda b, h, q_idx, kv_idx: (q_idx == 0) & (kv_idx == 0))
    assert describe(one.tallies[0], one.tally)[0].startswith("under 1\u00a0% of the pairs")


# -- the class -------------------------------------------------------------------------------------------


def test_the_budget_is_kept(own):
    assert len(own.masks) * len(TILES) <= base.MOST_FRAMES
    longest = BlockSparsity(scattered, n=128)
    assert len(longest.view.kinds) + len(longest.view.pairs) <= base.MOST_BYTES


def test_both_controls_change_what_is_drawn():
    figure = BlockSparsity()
    for control, value in (
        (figure.tile, 5),
        (figure.kind, "3 documents"),
        (figure.kind, "prefix 20, then causal"),
    ):
        before, tally = figure.weights, figure.tally
        control.value = value
        assert figure.weights.shape != before.shape or (figure.weights != before).any()
        assert figure.tally != tally


def test_the_static_picture_is_of_the_present_state():
    figure = BlockSparsity(mask="3 documents", tile=13)
    html = figure.static_html()
    idle, some = (html.split(f'style="fill: {FILLS[k]}"')[0].rsplit('d="', 1)[1] for k in ("idle", "some"))
    assert idle.count("M") == figure.tally.partial
    runs = [int(part.split("h")[1].split("v")[0]) for part in some.split("M")[1:]]
    in_partial = figure.tally.allowed - (figure.tally.computed - figure.tally.asked)
    assert sum(runs) == in_partial
    figure.kind.value = "causal"
    bundle = figure._repr_mimebundle_()["text/html"]
    assert figure.view.mask == 0
    assert "block=13" in bundle
    assert "q_idx &gt;= kv_idx" in bundle


def test_readers_bring_a_mask_of_their_own(own):
    assert own.kind.value == OWN
    i, j = np.indices((50, 50))
    np.testing.assert_array_equal(own.mask, ((i * 7 + j * 13) % 11 < 2) & (i % 5 != 3))
    assert "# mask_mod is your own" in own.code
    x = torch.randn(1, 1, 50, 16, dtype=torch.float64)
    out = flash_attention(x, x, x, block_mask=own.block_mask, kernel="blockwise").output
    assert (out[0, 0, 3::5] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 31}, ValueError, "`n` must be an integer from 32 to 128; got 31"),
        ({"tile": 33}, ValueError, "`tile` must be an integer from 4 to 32; got 33"),
        ({"tile": 8.0}, ValueError, "`tile` must be an integer"),
        ({"mask": "sliding"}, ValueError, "`mask` must be one of 'causal', .*; got 'sliding'"),
        ({"mask": OWN}, ValueError, "`mask` must be one of"),
        ({"mask_mod": np.ones((64, 64), bool)}, TypeError, r"`mask_mod` must be a function \(b, h, q_idx"),
        (
            {"mask_mod": lambda b, h, q, k: (q - k).float()},
            TypeError,
            "`mask_mod` must return a boolean tensor",
        ),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, arguments, error, message):
    with pytest.raises(error, match=message):
        BlockSparsity(**arguments)


# -- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("block-sparsity")
    shutil.copy(ROOT / "book" / "static" / "widget-host.js", folder)
    (folder / "figures.css").write_text(stylesheet(), encoding="utf-8")
    for theme in ("light", "dark"):
        write(folder, f"{theme}.html", [BlockSparsity()], theme=theme)
    write(folder, "own.html", [BlockSparsity(scattered, n=50, tile=13)])
    with serving(folder) as address:
        yield address


def sentence(page) -> str:
    return page.locator(".pa-live .pa-sentence").inner_text().replace("\n", " ")


def test_the_host_draws_what_the_library_sorts(visit, origin, figure):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view, select = page.locator(".pa-live .pa-view"), page.locator(".pa-live select")
    slider = page.locator(".pa-live input[type=range]")
    for i, name in enumerate(figure.masks):
        select.select_option(label=name)
        for tile in (4, 11, 32):
            slide(slider, tile)
            at = figure.tallies[i][tile - TILES[0]]
            blocks = create_block_mask(figure.masks[name].mask_mod, None, None, 64, 64, block=tile)
            drawn = json.loads(view.get_attribute("data-weights"))
            assert drawn == blocks.kinds.ravel().tolist()
            assert json.loads(view.get_attribute("data-tally")) == at._asdict() | {"tiles": at.tiles}
            shown = page.locator(".pa-live .pa-kind strong").all_inner_texts()
            assert shown == [str(blocks.counts[kind]) for kind in ("full", "partial", "empty")]
            assert sentence(page) == " ".join(describe(figure.tallies[i], at))
            assert page.locator(".pa-live .pa-blockcode").inner_text().rstrip() == view.get_attribute(
                "data-code"
            )
            assert f"block={tile}" in view.get_attribute("data-code")
    assert page.faults == []


COLOUR = """([row, column, n]) => {
    const canvas = document.querySelector('.pa-live canvas');
    const at = (i) => Math.floor((i + 0.5) * canvas.width / n);
    return [...canvas.getContext('2d').getImageData(at(column), at(row), 1, 1).data];
}"""


def test_the_canvas_shows_the_kinds_and_follows_the_theme(visit, origin):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1, device_scale_factor=2)
    size = page.evaluate(
        "(() => { const c = document.querySelector('.pa-live canvas'); return [c.width, c.clientWidth]; })()"
    )
    assert size[0] == pytest.approx(2 * size[1], abs=1)
    colour = lambda row, col: page.evaluate(COLOUR, [row, col, 64])  # noqa: E731
    assert colour(20, 4) == pytest.approx([0x02, 0x58, 0x8D, 255], abs=3)  # a full tile
    assert colour(20, 18) == pytest.approx([0x02, 0x9F, 0xAC, 255], abs=3)  # allowed, in a partial one
    assert colour(20, 50)[3] == 0  # an empty tile is not painted
    idle = colour(18, 22)  # computed for nothing
    assert idle[3] == 255
    assert idle[0] > 200
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(50)
    assert colour(20, 4) == pytest.approx([0x8E, 0xD1, 0x86, 255], abs=3)


def test_arrows_move_a_tile_that_the_sentence_reads(visit, origin, figure):  # noqa: F811
    page = visit(f"{origin}/light.html", live=1)
    view, cells = page.locator(".pa-live .pa-view"), page.locator(".pa-live .pa-blockcells")
    mask, kinds = sent(figure, "causal", 8)
    before = sentence(page)
    cells.focus()
    assert sentence(page) == before  # focus alone picks nothing
    for key, place in [
        ("ArrowDown", (0, 0)), ("ArrowDown", (1, 0)), ("ArrowRight", (1, 1)), ("End", (1, 7)),
        ("PageDown", (7, 7)), ("ArrowRight", (7, 7)), ("Home", (7, 0)), ("PageUp", (0, 0)),
        ("ArrowLeft", (0, 0)),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert view.get_attribute("data-picked") == f"{place[0]},{place[1]}"
        r, c = place
        pairs = int(mask[r * 8 : r * 8 + 8, c * 8 : c * 8 + 8].sum())
        said = of_tile(("empty", "partial", "full")[kinds[place]], r, c, 64, 8, pairs)
        assert sentence(page) == " ".join(describe(figure.tallies[0], figure.tallies[0][4], said))
    page.wait_for_timeout(300)
    assert page.locator(".pa-live .pa-spoken").inner_text().startswith("The tile of queries 0 to 7")
    page.keyboard.press("Escape")
    assert sentence(page) == before


def test_the_pointer_previews_a_tile_and_a_click_keeps_it_until_the_next(visit, origin):  # noqa: F811
    page = visit(f"{origin}/own.html", live=1, viewport={"width": 1280, "height": 1200})
    view, box = page.locator(".pa-live .pa-view"), page.locator(".pa-live .pa-blockcells").bounding_box()

    def centre(row, column):  # of a pair
        return box["x"] + (column + 0.5) * box["width"] / 50, box["y"] + (row + 0.5) * box["height"] / 50

    page.mouse.move(*centre(3, 49))
    assert view.get_attribute("data-picked") == "0,3"
    assert "keys 39 to 49" in sentence(page)  # the shorter tile at the edge
    page.mouse.move(5, 5)
    assert view.get_attribute("data-picked") == ""
    page.mouse.click(*centre(20, 20))
    page.mouse.move(5, 5)
    assert view.get_attribute("data-picked") == "1,1"
    page.mouse.click(*centre(20, 20))
    page.mouse.move(5, 5)
    assert view.get_attribute("data-picked") == ""
    page.mouse.click(*centre(20, 20))
    slide(page.locator(".pa-live input[type=range]").first, 6)  # tiles of another size are other tiles
    page.mouse.move(5, 5)
    assert view.get_attribute("data-picked") == ""
    assert page.faults == []


@pytest.mark.parametrize("name", ["light", "dark", "own"])
@pytest.mark.parametrize("width", [1280, 700, 320])
def test_it_fits_is_accessible_and_takes_its_static_pictures_place(visit, origin, node_modules, name, width):  # noqa: F811
    page = visit(f"{origin}/{name}.html", live=1, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run('main').then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    )
    parts = (
        ".pa-tile, .pa-kind, .pa-blockline, .pa-step, .pa-step-name, .pa-caption, .pa-blocks, .pa-sentence"
    )
    words = f"(card) => [...card.querySelectorAll('{parts}')].map((e) => e.textContent)"
    live, still = (page.locator(f"{side} .pa-view").evaluate(words) for side in (".pa-live", ".pa-static"))
    assert live == still
    heights = page.evaluate("""[...document.querySelectorAll('figure')].map((f) => {
        const live = f.offsetHeight;
        f.removeAttribute('data-live');
        f.querySelector('.pa-live').style.display = 'none';
        return [live, f.offsetHeight];
    })""")
    assert all(abs(live - still) <= 1 for live, still in heights), heights
