"""A whole evaluation of a model that answers by rule: the figures, the comparison and the page."""

import json
import re

import pytest

from expllm.datasets import LabelledFace
from expllm.errors import Reject
from expllm.evaluation import page
from expllm.evaluation.asking import Asked, Shown, ask
from expllm.evaluation.bootstrap import Resampling
from expllm.evaluation.document import (
    NO_CHAINS,
    NO_LABEL_FIRST,
    Evaluated,
    columns_of,
    comparison,
    document,
    people_of,
    short,
    summary,
)
from expllm.expressions import Expression
from tests.evaluation.scripted import FROWN, REST, SMILE, ScriptedModel, pair, shown, units

HAPPINESS, ANGER, NEUTRAL = Expression.HAPPINESS, Expression.ANGER, Expression.NEUTRAL
KEYS = {
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "calibration_error",
    "parsed",
    "au_precision",
    "au_recall",
    "counterfactual_faithfulness",
    "counterfactual_faithfulness_hints",
    "chain_followed",
}
FACES = [
    shown(HAPPINESS, SMILE, "1", peak=0.8, groups={"skin": "dark"}),
    shown(ANGER, FROWN, "1", peak=0.9, groups={"skin": "dark"}),
    shown(NEUTRAL, REST, "2", peak=0.0, groups={"skin": "light"}),
    shown(ANGER, SMILE, "2", peak=0.21, groups={"skin": "light"}),
]
PAIRS = [
    pair(12, SMILE, units({"au06": 0.7}), "1"),
    pair(4, FROWN, units({"au07": 0.7, "au23": 0.8}), "2"),
]
DRAWN = Resampling(20)


def asked(model: ScriptedModel, faces: list[Shown] = FACES) -> Asked:
    return ask(model, faces, PAIRS, hints=True, most_chains=10, tell=lambda line: None)


def evaluated(model: ScriptedModel, faces: list[Shown] = FACES, *, hints: bool = True) -> dict:
    about = Evaluated("scripted", "faces", hints, {"no such label": 3}, DRAWN)
    return document(about, faces, PAIRS, asked(model, faces))


@pytest.fixture(scope="module")
def seeing() -> dict:
    return evaluated(ScriptedModel())


def test_the_document_has_the_keys_that_others_read(seeing: dict) -> None:
    assert seeing.keys() >= KEYS
    assert seeing["intervals"].keys() == KEYS
    assert json.loads(json.dumps(seeing))["accuracy"] == 0.75


def test_a_model_that_sees_is_faithful_with_hints_and_without(seeing: dict) -> None:
    for name in ("parsed", "au_precision", "au_recall", "counterfactual_faithfulness", "chain_followed"):
        assert seeing[name] == 1.0, name
    assert seeing["counterfactual_faithfulness_hints"] == 1.0
    assert seeing["chain"]["unchanged"]["value"] == 1.0


def test_a_model_that_only_repeats_hints_is_found_out_without_them() -> None:
    blind = evaluated(ScriptedModel(is_blind=True))
    assert blind["accuracy"] == 0.75
    assert blind["counterfactual_faithfulness_hints"] == 1.0
    assert blind["counterfactual_faithfulness"] == 0.0
    assert blind["without_hints"]["au_recall"]["value"] == 0.0
    assert evaluated(ScriptedModel(is_blind=True), hints=False)["accuracy"] == 0.25


def test_a_model_whose_label_ignores_its_text_is_found_out() -> None:
    assert evaluated(ScriptedModel(follows=False))["chain_followed"] == 0.0


def test_texts_outside_the_grammar_are_counted_and_give_no_label() -> None:
    garbled = evaluated(ScriptedModel(garbles=True))
    assert (garbled["parsed"], garbled["accuracy"], garbled["chain_followed"]) == (0.0, 0.0, None)
    assert garbled["without_label"] == {"text_malformed": 4}
    assert any("label first: of 4 texts" in note for note in garbled["notes"])


def test_what_a_model_cannot_do_is_said_and_not_measured() -> None:
    model = ScriptedModel()
    model.continues = model.can_put_label_first = False
    found = evaluated(model)
    assert {NO_LABEL_FIRST, NO_CHAINS} <= set(found["notes"])
    assert found["chain_followed"] is None
    assert found["orders"]["label_first"] is None


def test_a_face_that_is_not_found_or_not_readable_is_wrong_and_told() -> None:
    lost = [Shown(FACES[0].face, None), Shown(FACES[0].face, Reject.CORRUPT)]
    found = evaluated(ScriptedModel(), [*FACES, *lost])
    assert found["accuracy"] == 0.5
    assert found["without_label"] == {"no_face": 1, "corrupt": 1}


def test_faint_expressions_and_subgroups_have_figures_of_their_own(seeing: dict) -> None:
    assert [(one["value"], one["faces"], one["accuracy"]["value"]) for one in seeing["micro"]] == [
        ("0.2", 1, 0.0),
        ("1", 2, 1.0),
    ]
    assert {one["value"]: one["accuracy"]["value"] for one in seeing["groups"]["skin"]} == {
        "dark": 1.0,
        "light": 0.5,
    }


def test_photographs_without_true_movements_are_compared_with_the_measured_ones() -> None:
    photographs = [Shown(LabelledFace("a.jpg", one.face.expression), one.seen) for one in FACES]
    found = evaluated(ScriptedModel(), photographs)
    assert found["au_compared_with"] == "measured"
    assert (found["au_recall"], found["micro"], found["groups"]) == (1.0, [], {})


def test_two_models_are_compared_in_one_line() -> None:
    faces = FACES * 20
    ours, theirs = (
        columns_of(faces, asked(ScriptedModel(garbles=garbles), faces), hints=True)
        for garbles in (False, True)
    )
    people = list(range(len(faces)))
    line = comparison(("ours", ours), ("theirs", theirs), people, DRAWN)["line"]
    assert re.fullmatch(
        r"ours against theirs, accuracy on 80 faces: \+\.750 \[.*\] \(95 %\): ours is better", line
    )
    assert "theirs is better" not in line
    assert comparison(("ours", ours), ("theirs", ours), people, DRAWN)["line"].endswith("no telling")


def test_a_face_of_nobody_known_stands_for_itself() -> None:
    nobody = Shown(LabelledFace("a.jpg", HAPPINESS), None)
    assert len(set(people_of([nobody, nobody]))) == 2


@pytest.mark.parametrize(("value", "text"), [(0.8954, ".895"), (1.0, "1.000"), (-0.05, "-.050"), (None, "–")])
def test_shares_are_short(value: float | None, text: str) -> None:
    assert short(value) == text


def test_the_summary_names_every_first_figure(seeing: dict) -> None:
    assert all(name.replace("_", " ") in summary(seeing) for name in KEYS)


@pytest.mark.parametrize("model", [ScriptedModel(), ScriptedModel(garbles=True)])
@pytest.mark.parametrize("is_compared", [True, False])
def test_the_page_stands_alone(model: ScriptedModel, is_compared: bool) -> None:
    found = evaluated(model)
    if is_compared:
        columns = columns_of(FACES, asked(model), hints=True)
        same = comparison(("ours", columns), ("theirs", columns), people_of(FACES), DRAWN)
        found["against"] = {**found, **same}
    html = page.render(found)
    assert html == page.render(json.loads(json.dumps(found)))
    assert "<script" not in html and not re.search(r"(?:src|href)=\"(?:http|//)", html)
    assert html.count("<svg") == html.count("</svg>")
    assert ("against theirs" in html) == is_compared


def test_an_empty_evaluation_has_a_page_too() -> None:
    about = Evaluated("scripted", "faces", True, {}, DRAWN)
    nothing = ask(ScriptedModel(), [], [], hints=True, most_chains=1, tell=lambda line: None)
    found = document(about, [], [], nothing)
    assert found["accuracy"] is None
    assert "scripted" in page.render(found)
