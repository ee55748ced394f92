"""Which expression each data set means by a number, a word or a column: one table a data set."""

from collections.abc import Mapping

from expllm.expressions import Expression

Numbering = Mapping[float, Expression]
"""A label's number -> the expression; numbers that mean no expression are left out."""

_N, _H, _SA, _SU = Expression.NEUTRAL, Expression.HAPPINESS, Expression.SADNESS, Expression.SURPRISE
_F, _D, _A, _C = Expression.FEAR, Expression.DISGUST, Expression.ANGER, Expression.CONTEMPT

# The readme of RAF-DB, and Li, Deng and Du, Reliable crowdsourcing and deep locality-preserving learning
# for expression recognition in the wild (CVPR 2017).
RAF_DB: Numbering = {1: _SU, 2: _F, 3: _D, 4: _H, 5: _SA, 6: _A, 7: _N}

# The same readme: expressions that are two of ours at once.
RAF_DB_COMPOUND: Mapping[float, str] = {
    1: "happily surprised",
    2: "happily disgusted",
    3: "sadly fearful",
    4: "sadly angry",
    5: "sadly surprised",
    6: "sadly disgusted",
    7: "fearfully angry",
    8: "fearfully surprised",
    9: "angrily surprised",
    10: "angrily disgusted",
    11: "disgustedly surprised",
}

# Mollahosseini, Hasani and Mahoor, AffectNet (IEEE Transactions on Affective Computing 2019): 8 is none of
# these, 9 uncertain, 10 no face.
AFFECTNET: Numbering = {0: _N, 1: _H, 2: _SA, 3: _SU, 4: _F, 5: _D, 6: _A, 7: _C}

# The sample of AffectNet on Kaggle counts the same classes from 1.
AFFECTNET_SAMPLE: Numbering = {number + 1: expression for number, expression in AFFECTNET.items()}

# Goodfellow and others, Challenges in representation learning (ICONIP 2013), and the data's own readme.
FER2013: Numbering = {0: _A, 1: _D, 2: _F, 3: _H, 4: _SA, 5: _SU, 6: _N}

# Barsoum, Zhang, Canton Ferrer and Zhang, Training deep networks for facial expression recognition with
# crowd-sourced label distribution (ICMI 2016): columns of votes, after which `unknown` and `NF` (no face).
FERPLUS: Mapping[str, Expression | None] = {
    "neutral": _N,
    "happiness": _H,
    "surprise": _SU,
    "sadness": _SA,
    "anger": _A,
    "disgust": _D,
    "fear": _F,
    "contempt": _C,
    "unknown": None,
    "NF": None,
}

# The class file that comes with the lists of boxes for SFEW (FER-YOLO-Mamba, arXiv 2405.01828).
SFEW: Numbering = {0: _A, 1: _D, 2: _F, 3: _H, 4: _N, 5: _SA, 6: _SU}

NUMBERED: Mapping[str, Numbering] = {"raf-db": RAF_DB, "affectnet": AFFECTNET, "fer2013": FER2013}
"""Data sets whose copies have numbers as class folders, by the name that goes before such a folder."""
