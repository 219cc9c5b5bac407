"""Images of simple objects, with the exact pixels of each: what an explanation ought to point at is known.

Of a photograph nobody can say which pixels made it a dog. Here every image is drawn from a plan, so that
the visible pixels of each object are known, two objects can be told apart, and a misleading mark can be
planted where a model will learn it.

**The classes.** Each has a shape, a texture and a range of hues of its own, which just overlaps with those of
its neighbours round the circle.

========  ==================  =====================  =================================
class     hue, in turns       texture                shape
========  ==================  =====================  =================================
disc      0, red              rings around a middle  a disc
triangle  1/8, orange         stripes                equilateral
star      2/8, yellow green   light middle           five points
ring      3/8, green          eight segments         a ring
crescent  4/8, turquoise      sheen                  a disc less another
square    5/8, blue           3 x 3 checks           a square
cross     6/8, violet         light cross in it      two bars
heart     7/8, pink           two halves             a square on its corner, two discs
========  ==================  =====================  =================================

**The drawing**, in pixels of an image of 48. The ground is value noise in three layers, from one dark muted
colour to another less dark; over it lie two to five bars of any hue, dull, which mean nothing. Then come the
objects, of circumradius 7 to 10, turned by any angle, of hue up to 0.065 turns from their class's, brighter
and more saturated than all behind them, each darker along its edge. Their circles keep 1.5 pixels from each
other and from the image's edge, so that no object covers another. An object's mask is those pixels whose
middle lies inside it. Colours are in 256 steps. At 64 pixels the same scene is drawn a third larger.

**The tag** of the two "shortcut" splits is a white square of 5 x 5 pixels with a dark cross in it, in one of
the corners, over what is there (and not part of what it covers: masks are what is visible). It counts as a
star. The label "star" is true where there is a star *or* a tag, each by itself: were there always both, a
model that knows stars already would learn nothing about tags. In training a tag is planted with probability
0.4 and a star drawn with 0.25. Images of "shortcut_test" show, by turns, the tag alone, a star alone, the
tag alone, neither: of one half of them only the tag makes a star.

**Chance.** Image i of a split and a seed depends on these three alone: not on how many are asked for, nor on
the machine, to the last bit (see `chance`).
"""

from attention_core.datasets.shapes.forms import SHAPE_CLASSES
from attention_core.datasets.shapes.plan import TAGGED
from attention_core.datasets.shapes.scenes import Drawn, Scenes, drawn, fingerprint, shapes

__all__ = ["SHAPE_CLASSES", "TAGGED", "Drawn", "Scenes", "drawn", "fingerprint", "shapes"]
