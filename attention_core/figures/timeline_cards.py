"""The cards of the timeline: what each idea gave, what it lacked, and where it had come up before.

A card of a mechanism that is in the catalogue takes year and citation from there. All other years are those
of the first public appearance, as in `book/references.bib`, whose keys the citations are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attention_core.catalogue import VARIANTS

THREADS = ("selection", "soft weights", "fast memory", "content addressing", "scale")
ARXIV, DOI = "https://arxiv.org/abs/", "https://doi.org/"


@dataclass(frozen=True)
class Card:
    """One idea: who had it when, in one sentence each what it gave and lacked.

    `recurs` names earlier cards whose idea comes back here. That is likeness, not influence: the authors may
    never have heard of each other. `link` is the primary source's address, empty where there is none.
    """

    name: str
    title: str
    year: int
    who: str
    citation: str
    link: str
    thread: str
    gave: str
    lacked: str
    recurs: tuple[str, ...] = ()
    variant: str = ""  # its name in the catalogue


def card(
    name: str, title: str, thread: str, who: str, source: str, gave: str, lacked: str,
    recurs: str = "", *, cite: str = "", year: int = 0, variant: str = "",
) -> Card:  # fmt: skip
    """A card whose year and citation stand here, or, given a variant, in the catalogue alone.

    `source` is an arXiv number, a DOI ("10.…") or an address.
    """
    if variant:
        year, cite = VARIANTS[variant].year, VARIANTS[variant].citation
    prefix = DOI if source.startswith("10.") else "" if source.startswith("http") or not source else ARXIV
    link = prefix + source
    return Card(name, title, year, who, cite, link, thread, gave, lacked, tuple(recurs.split()), variant)


SELECTION, SOFT, MEMORY, ADDRESSING, SCALE = THREADS

# fmt: off
CARDS = (
    # --- psychology, statistics, and the first matrices that remember
    card("cherry", "The cocktail party", SELECTION, "Cherry", "10.1121/1.1907229",
         "Played two messages to two ears: whoever repeats one can say almost nothing about the other.",
         "A finding without a mechanism: how is one of them chosen?",
         cite="cherry1953experiments", year=1953),
    card("broadbent", "The filter", SELECTION, "Broadbent", "10.1037/10037-000",
         "Drew attention as a box: a filter lets one channel through, by where it comes from or how it sounds.",
         "All or nothing: what the filter stops should be gone, but people hear their own name.",
         "cherry", cite="broadbent1958perception", year=1958),
    card("sperling", "Partial report", SELECTION, "Sperling", "10.1037/h0093759",
         "A tone, sounded after the letters have gone, still picks the row to report: a cue reads a fading store.",
         "The cue says where to read, and never what to look for.",
         "cherry", cite="sperling1960information", year=1960),
    card("treisman", "Attenuation", SOFT, "Treisman", "10.1080/17470216008416732",
         "The unattended is turned down, not off: between hearing and not hearing there are degrees.",
         "Degrees, but no rule that computes them.",
         "broadbent", cite="treisman1960contextual", year=1960),
    card("widrow", "The delta rule", MEMORY, "Widrow and Hoff", "",
         "Corrects a weight by the error that it just made, times its input.",
         "The weights are learned slowly and then stay; nothing writes them while the network runs.",
         cite="widrow1960adaptive", year=1960),
    card("nadaraya", "Kernel regression", SOFT, "Nadaraya; Watson", "10.1137/1109020",
         "Predicts by a mean of all known values, weighted by how near their inputs are, the weights summing to one.",
         "Nearness is fixed in advance: nothing is learned about what counts as near.",
         cite="nadaraya1964estimating", year=1964),
    card("yarbus", "Eyes follow the question", SELECTION, "Yarbus", "10.1007/978-1-4899-5379-7",
         "One picture, several questions: the eyes go to other places for each. What is looked at depends on a query.",
         "Recorded, not modelled.",
         "cherry", cite="yarbus1967eye", year=1967),
    card("kohonen", "Correlation matrix memory", MEMORY, "Kohonen", "10.1109/TC.1972.5008975",
         "Stores pairs as a sum of outer products, and reads with one product of matrix and key.",
         "Keys that overlap disturb one another, and nothing in it decides what to write.",
         cite="kohonen1972correlation", year=1972),
    # --- connectionism: units that multiply, weights that hurry
    card("posner", "The spotlight", SELECTION, "Posner", "10.1080/00335558008248231",
         "A cue speeds up what appears at its place while the eyes stay still: attention moves by itself.",
         "One beam, one place.",
         "broadbent", cite="posner1980orienting", year=1980),
    card("gelade", "Feature integration", SELECTION, "Treisman and Gelade", "10.1016/0010-0285(80)90005-5",
         "Colour and shape are found all over the scene at once; attending to a place binds them into a thing.",
         "A place at a time: no account of binding two places to each other.",
         "posner", cite="treisman1980feature", year=1980),
    card("malsburg", "Dynamic links", MEMORY, "von der Malsburg", "http://cogprints.org/1380/",
         "Synapses that switch on and off within a fraction of a second: connections as short-term memory.",
         "A theory of brains, with no rule that could be trained.",
         "kohonen", cite="vondermalsburg1981correlation", year=1981),
    card("mapping", "Mapping units", SOFT, "Hinton", "",
         "Units that multiply: a seen feature times a frame of reference gives a feature of the object.",
         "Wired by hand.",
         cite="hinton1981parallel", year=1981),
    card("feldman", "Dynamic connections", MEMORY, "Feldman", "10.1007/BF00335349",
         "Builds temporary connections between any two of many units out of switching units.",
         "What to connect comes from outside.",
         "malsburg", cite="feldman1982dynamic", year=1982),
    card("hopfield", "Memory by content", ADDRESSING, "Hopfield", "10.1073/pnas.79.8.2554",
         "A part of a memory, or a damaged copy, calls up the whole: an address is no longer needed.",
         "Room for about 0.15 patterns a unit, and only for stored states, not for a mixture.",
         "kohonen", cite="hopfield1982neural", year=1982),
    card("sigmapi", "Sigma-pi units", SOFT, "Rumelhart, Hinton and McClelland", "10.7551/mitpress/5236.001.0001",
         "Inputs that are multiplied before they are added, so that one can gate another.",
         "A weight for each product: their number grows with the square, or the cube, of the inputs.",
         "mapping", cite="rumelhart1986general", year=1986),
    card("deblur", "Two weights a connection", MEMORY, "Hinton and Plaut",
         "https://www.cnbc.cmu.edu/~plaut/papers/abstracts/HintonPlaut87CogSciConf.fastWeights.html",
         "Gives each connection a slow weight that learns and a fast one that fades, as temporary memory.",
         "Fast weights follow the same rule as slow ones: no other network decides what they hold.",
         "malsburg", cite="hinton1987using", year=1987),
    card("giles", "Higher-order networks", SOFT, "Giles and Maxwell", "10.1364/AO.26.004972",
         "Products of inputs learn in one layer what sums cannot, exclusive-or first, and can build in invariance.",
         "Which products to take must be chosen by hand.",
         "sigmapi", cite="giles1987learning", year=1987),
    card("fast_weights", "Fast weight programmer", MEMORY, "Schmidhuber", "10.1162/neco.1992.4.1.131",
         "A slow network writes the weights of a fast one, by outer products of patterns that it learns to make.",
         "It only adds: no softmax, no normalisation, and a key written again answers with the sum.",
         "kohonen deblur feldman", variant="fast_weights"),
    card("brown", "Alignment as a hidden variable", SOFT, "Brown et al.", "https://aclanthology.org/J93-2003/",
         "Every word of a translation has a probability for each source word that it may come from, learned from pairs.",
         "Tables of words: nothing is shared between words that are alike.",
         cite="brown1993mathematics", year=1993),
    card("lstm", "Gates", SOFT, "Hochreiter and Schmidhuber", "10.1162/neco.1997.9.8.1735",
         "Numbers between 0 and 1, computed from the input, multiply what enters and leaves a memory cell.",
         "One state of fixed size has to carry everything.",
         "sigmapi", cite="hochreiter1997long", year=1997),
    card("tomasi", "Bilateral filter", SOFT, "Tomasi and Manduchi", "10.1109/ICCV.1998.710815",
         "Averages pixels that are near in place and in brightness: smooth areas become smooth, edges stay.",
         "A single noisy pixel is its own description, which texture defeats; nothing is learned.",
         "nadaraya", cite="tomasi1998bilateral", year=1998),
    card("itti", "Saliency map", SELECTION, "Itti, Koch and Niebur", "10.1109/34.730558",
         "A map of what stands out, from which the strongest place wins, is suppressed, and gives way to the next.",
         "Only the picture speaks: no question can change the map.",
         "gelade", cite="itti1998model", year=1998),
    # --- before the name
    card("buades", "Non-local means", ADDRESSING, "Buades, Coll and Morel", "10.1109/CVPR.2005.38",
         "Compares the patches around two pixels, wherever they are, and averages what looks alike.",
         "Distance of raw patches, with one fixed width: no learned query or key.",
         "tomasi", cite="buades2005nonlocal", year=2005),
    card("larochelle", "Learned glimpses", SELECTION, "Larochelle and Hinton",
         "https://papers.nips.cc/paper_files/paper/2010/hash/677e09724f0e2df9b6c000b75b5da10d-Abstract.html",
         "A network learns where to fixate next, and joins what it saw with where it looked by three-way products.",
         "A few hard fixations, and a Boltzmann machine that is laborious to train.",
         "yarbus sigmapi", cite="larochelle2010learning", year=2010),
    card("graves", "A soft window", SOFT, "Graves", "1308.0850",
         "A window of Gaussian weights slides over the text as the pen writes, and learns to by gradients alone.",
         "It looks by position, and goes forward only: the letters themselves have no say.",
         "brown", cite="graves2013generating", year=2013),
    # --- attention gets its name
    card("mnih", "Recurrent attention", SELECTION, "Mnih et al.", "1406.6247",
         "Looks at one small, sharp piece of an image after another, and learns where by reinforcement.",
         "A choice has no gradient: the estimate of it is noisy, and training slow.",
         "larochelle", cite="mnih2014recurrent", year=2014),
    card("bahdanau", "Align and translate", SOFT, "Bahdanau, Cho and Bengio", "1409.0473",
         "Each word written reads a mean of all source states, with weights from a small network that is trained along.",
         "One query at a time, inside a recurrent network that has to wait for itself.",
         "brown graves", variant="additive"),
    card("weston", "Memory networks", ADDRESSING, "Weston, Chopra and Bordes", "1410.3916",
         "Answers a question by finding the sentence that fits it in a memory of sentences, and then the next.",
         "A hard choice at each step, which needs to be told which sentences were right.",
         "hopfield", cite="weston2014memory", year=2014),
    card("ntm", "Neural Turing machine", ADDRESSING, "Graves, Wayne and Danihelka", "1410.5401",
         "Reads and writes a memory by similarity to a key, softly, so that gradients find out what to store.",
         "Hard to train, and every step must wait for the one before.",
         "hopfield graves", variant="cosine"),
    card("wang", "Feedback that selects features", SELECTION, "Wang et al.", "1411.5140",
         "What the network expects to see gates, from above, which features get through from below.",
         "The gate knows features, not places or words.",
         "yarbus lstm", cite="wang2014attentional", year=2014),
    card("xu", "Show, attend and tell", SELECTION, "Xu et al.", "1502.03044",
         "Puts hard and soft selection side by side in one captioner: the place is drawn by lot, or averaged over.",
         "A grid of places from a fixed network is all there is to look at.",
         "bahdanau mnih", cite="xu2015show", year=2015),
    card("chorowski", "Speech", SOFT, "Chorowski et al.", "1506.07503",
         "Scores a sound by what it is and by where the last look was, so that long recordings are not lost in.",
         "Made for what runs from left to right.",
         "bahdanau graves", cite="chorowski2015attention", year=2015),
    card("luong", "The score is a product", SOFT, "Luong, Pham and Manning", "1508.04025",
         "Replaces the small network by a dot product of query and key: all scores in one matrix product.",
         "Unscaled: the wider the vectors, the harder the softmax.",
         "bahdanau sigmapi", variant="dot"),
    card("cheng", "A sequence attends to itself", ADDRESSING, "Cheng, Dong and Lapata", "1601.06733",
         "Each word reads all earlier words of its own sentence instead of one summary of them.",
         "Still recurrent, so still one word after another.",
         "bahdanau ntm", variant="self_attention"),
    card("parikh", "Nothing but comparisons", SCALE, "Parikh et al.", "1606.01933",
         "Aligns two sentences by attention with no recurrence at all, with far fewer parameters than its rivals.",
         "Word order is lost but for a look within each sentence, and one layer deep.",
         "bahdanau", cite="parikh2016decomposable", year=2016),
    card("ba", "Attending to the recent past", MEMORY, "Ba et al.", "1610.06258",
         "Shows that a decaying matrix of outer products attends to recent states without storing them one by one.",
         "It decays at one rate, and cannot overwrite.",
         "fast_weights deblur bahdanau", cite="ba2016using", year=2016),
    # --- attention alone
    card("lin", "Several looks at a sentence", ADDRESSING, "Lin et al.", "1703.03130",
         "Makes a matrix out of a sentence: several rows of weights, each looking for something else.",
         "The queries are parameters: they ask the same of every sentence.",
         "cheng", cite="lin2017structured", year=2017),
    card("paulus", "Intra-attention for summaries", SOFT, "Paulus, Xiong and Socher", "1705.04304",
         "Attends to what it has written itself, and less to what it has read before, so that summaries repeat less.",
         "Still a recurrent network around it.",
         "cheng bahdanau", cite="paulus2017deep", year=2017),
    card("santoro", "Relation networks", SOFT, "Santoro et al.", "1706.01427",
         "Sends every pair of objects through one small network and adds the results up.",
         "The sum has no weights: every pair counts, whether it matters or not.",
         "parikh", cite="santoro2017simple", year=2017),
    card("vaswani", "The transformer", ADDRESSING, "Vaswani et al.", "1706.03762",
         "Nothing but attention and small networks: learned queries, keys and values, many heads, all words at once.",
         "Time and memory grow with the square of the length, and order must be added from outside.",
         "luong cheng parikh lin", variant="multi_head"),
    card("squeeze", "Squeeze and excitation", SELECTION, "Hu et al.", "1709.01507",
         "A summary of the whole image decides how much each channel of a network counts.",
         "One number a channel, the same at every place.",
         "wang lstm", variant="squeeze_excitation"),
    card("gat", "Graph attention", SOFT, "Veličković et al.", "1710.10903",
         "Weighs neighbours in a graph by what they are: the edges become the mask.",
         "Its score ranks the neighbours alike for every node, as was noticed four years later.",
         "bahdanau vaswani", variant="gat"),
    card("nonlocal", "Non-local networks", ADDRESSING, "Wang et al.", "1711.07971",
         "Non-local means with learned queries and keys, as a layer: attention over the pixels of a video.",
         "All pairs of pixels: too many for large images.",
         "buades vaswani", variant="non_local"),
    card("dual", "Attention over places and channels", ADDRESSING, "Fu et al.", "1809.02983",
         "Adds, to attention over the places of an image, attention over its channels.",
         "The channels are compared with no learned query or key.",
         "nonlocal squeeze", variant="dual_attention"),
    card("sets", "Set transformer", SCALE, "Lee et al.", "1810.00825",
         "Reads sets, whose order means nothing, and lets a few learned points stand between their elements.",
         "The few points are a bottleneck of their own.",
         "vaswani", variant="set_attention"),
    card("bert", "BERT", SCALE, "Devlin et al.", "1810.04805",
         "One transformer, trained on raw text to fill gaps, serves almost any task after a little more training.",
         "It fills gaps, and does not write.",
         "vaswani", cite="devlin2018bert", year=2018),
    card("ccnet", "Criss-cross attention", SCALE, "Huang et al.", "1811.11721",
         "Attends along a row and a column, twice, and so reaches every pixel by two short steps.",
         "What is two steps away comes second-hand.",
         "nonlocal", variant="criss_cross"),
    card("mqa", "One head writes", SCALE, "Shazeer", "1911.02150",
         "All heads share one set of keys and values, so that a decoder has less to fetch for every word.",
         "What the heads share they cannot tell apart; quality suffers a little.",
         "vaswani", variant="multi_query"),
    # --- everywhere, longer, faster
    card("reformer", "Search by hashing", SCALE, "Kitaev, Kaiser and Levskaya", "2001.04451",
         "Hashes queries and keys, and compares only those that fall into one bucket.",
         "Hashing can miss, and costs more than it saves on short texts.",
         "vaswani hopfield", variant="reformer"),
    card("linformer", "Fewer keys", SCALE, "Wang et al.", "2006.04768",
         "Mixes the keys of a text down to a fixed number, and attends to the mixtures.",
         "It needs a fixed length, and cannot be causal.",
         "vaswani", variant="linformer"),
    card("linear", "Linear attention", MEMORY, "Katharopoulos et al.", "2006.16236",
         "Without the softmax, attention is a recurrent network whose state is a matrix: cost linear in length.",
         "It blurs: a sum cannot single out one key as a softmax does.",
         "fast_weights vaswani", variant="linear"),
    card("modern", "Hopfield's memory is attention", ADDRESSING, "Ramsauer et al.", "2008.02217",
         "A Hopfield network for continuous patterns retrieves by softmax: its update is attention.",
         "One retrieval may average over patterns that are alike.",
         "hopfield vaswani", variant="hopfield"),
    card("performer", "Random features", MEMORY, "Choromanski et al.", "2009.14794",
         "Estimates softmax attention by linear attention with random features, right on average.",
         "The error grows quickly with the lengths of queries and keys.",
         "linear", variant="performer"),
    card("vit", "Vision transformer", SCALE, "Dosovitskiy et al.", "2010.11929",
         "Cuts an image into patches and reads them as words: with enough data, no convolution is needed.",
         "With less data it loses to convolutions, which know about neighbours.",
         "vaswani nonlocal", cite="dosovitskiy2020image", year=2020),
    card("delta", "Fast weights that correct themselves", MEMORY, "Schlag, Irie and Schmidhuber", "2102.11174",
         "Shows what linear attention and fast weights share, and writes by the delta rule, which overwrites.",
         "It overwrites old things by accident as well, and never forgets on purpose.",
         "fast_weights linear widrow", variant="delta_rule"),
    card("clip", "Pictures find their words", ADDRESSING, "Radford et al.", "2103.00020",
         "Trains an image and a text encoder so that the product of both picks the right caption of a batch.",
         "One vector an image: what is where is lost.",
         "vaswani", cite="radford2021learning", year=2021),
    card("perceiver", "Perceiver", SCALE, "Jaegle et al.", "2103.03206",
         "A small set of learned states asks an input of any size and kind, so the cost is linear in the input.",
         "All must pass through the small set.",
         "sets", variant="perceiver"),
    card("rope", "Rotary positions", ADDRESSING, "Su et al.", "2104.09864",
         "Turns queries and keys by their positions, so that their product knows the distance alone.",
         "Distances longer than in training come as a surprise.",
         "vaswani", variant="rope"),
    card("alphafold", "Protein folding", SOFT, "Jumper et al.", "10.1038/s41586-021-03819-2",
         "Attention over residues and over their pairs, each correcting the other, folds proteins.",
         "A large, special machine around it, and a cost that grows with the cube of the length.",
         "vaswani", cite="jumper2021highly", year=2021),
    card("alibi", "A penalty for distance", SOFT, "Press, Smith and Lewis", "2108.12409",
         "Subtracts a slope times the distance from each score, and so reads longer texts than it was trained on.",
         "What is far away is faint, however well it fits.",
         "tomasi vaswani", variant="alibi"),
    card("flash", "Flash attention", SCALE, "Dao et al.", "2205.14135",
         "Computes exact attention tile by tile and never writes the matrix of weights to memory.",
         "As many operations as before: the time still grows with the square.",
         "vaswani", variant="flash"),
    card("gqa", "Grouped heads", SCALE, "Ainslie et al.", "2305.13245",
         "Groups of heads share keys and values: nearly the quality of many, nearly the speed of one.",
         "How many groups is found by trying.",
         "mqa", variant="grouped_query"),
    card("flash2", "Flash attention, again", SCALE, "Dao", "2307.08691",
         "Divides the work better among the parts of a GPU, at about twice the speed.",
         "Tuned to one generation of GPUs.",
         "flash", cite="dao2023flashattention2", year=2023),
    card("paged", "Paged attention", SCALE, "Kwon et al.", "2309.06180",
         "Keeps keys and values of many conversations in pages, as an operating system keeps memory.",
         "It wastes less, but each conversation still grows with its length.",
         "vaswani", cite="kwon2023efficient", year=2023),
    card("sinks", "Sinks", SELECTION, "Xiao et al.", "2309.17453",
         "Finds that heads with nothing to look at look at the first tokens, and keeps those for endless texts.",
         "What has left the window is gone.",
         "vaswani", cite="xiao2023efficient", year=2023),
    card("latent", "Latent attention", SCALE, "DeepSeek-AI", "2405.04434",
         "Stores one short vector a token, from which all heads make their keys and values.",
         "Positions do not fit into it, and need a small key of their own.",
         "gqa", variant="latent"),
    card("flash3", "Flash attention, asynchronous", SCALE, "Shah et al.", "2407.08608",
         "Fetches, multiplies and exponentiates at the same time, on GPUs that can.",
         "Bound still more closely to one kind of GPU.",
         "flash2", cite="shah2024flashattention3", year=2024),
    card("differential", "Differential attention", SELECTION, "Ye et al.", "2410.05258",
         "Subtracts two maps of weights, so that what both give to the irrelevant cancels.",
         "Twice the maps, and weights that can be negative.",
         "vaswani", variant="differential"),
    card("flex", "FlexAttention", SCALE, "Dong et al.", "2412.05496",
         "Compiles a few lines about scores or masks into a kernel as fast as those written by hand.",
         "One algorithm, the tiled softmax: other kinds of attention stay outside.",
         "flash", variant="flex"),
    card("gated_delta", "The gated delta rule", MEMORY, "Yang, Kautz and Hatamizadeh", "2412.06464",
         "A gate forgets at once, the delta rule overwrites one thing: fast weights that do both, in parallel.",
         "A state of fixed size all the same: it cannot hold everything.",
         "delta lstm", variant="gated_delta_rule"),
    card("nsa", "Sparse from the start", SELECTION, "Yuan et al.", "2502.11089",
         "Trains with selection in place: summaries of blocks decide which blocks are read word by word.",
         "What no summary shows is never read.",
         "reformer flash", cite="yuan2025native", year=2025),
    card("kimi", "Gates for each channel", MEMORY, "Kimi Team", "2510.26692",
         "Three layers of fast weights, with a gate for each channel, to one of full attention: less memory to keep.",
         "The one in four shows that full attention is still missed.",
         "gated_delta latent", cite="kimi2025linear", year=2025),
)
# fmt: on


def check_cards(cards: Sequence[Card]) -> tuple[Card, ...]:
    """`cards` as they are, if dates ascend, threads are known and ideas recur from earlier cards only."""
    cards = tuple(cards)
    if not cards:
        raise ValueError("`cards` is empty; give at least one, or leave it out")
    seen: dict[str, Card] = {}
    for one in cards:
        if seen and one.year < (last := cards[len(seen) - 1]).year:
            raise ValueError(
                f"`cards` must be in order of their years; {one.name!r} ({one.year}) follows {last.year}"
            )
        if one.thread not in THREADS:
            raise ValueError(
                f"the thread of card {one.name!r} must be one of {', '.join(THREADS)}; got {one.thread!r}"
            )
        if unknown := [name for name in one.recurs if name not in seen]:
            raise ValueError(
                f"card {one.name!r} takes up {unknown[0]!r}, which is no earlier card: name one or list it first"
            )
        if one.name in seen:
            raise ValueError(f"two cards are called {one.name!r}; names must differ")
        seen[one.name] = one
    return cards
