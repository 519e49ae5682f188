"""Answers that repeat themselves or copy the prompt are no summary; good answers, which name items too, are."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engine.data.dataset import Dataset
from engine.data.demo import make_demo
from engine.data.goods import make_goods
from engine.semantics.llm.answer_repetition import copies_prompt, repeats_itself
from engine.semantics.llm.answer_validation import validate
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.prompts import choose_prompt
from engine.semantics.summaries.prompt_requests import Requests
from engine.semantics.summaries.sentence_provider import SentenceProvider

TITLES = (
    "Fjell & Form matte plant pot, 12 cm",
    "Ironmoor reinforced watering can: 30 l",
    "Tarn Ridge heavy-duty kneeling pad: 5 cm",
    "Pilot B2P - Bottle to Pen - Retractable Ball Point Pens Made from Recycled Bottles, 2 Pen Pack",
    "Tora! Tora! Tora! (1970)",
    "Paper Moons",
)
LIST = "<history>\n" + "\n".join(f"{place}. {title}" for place, title in enumerate(TITLES, 1)) + "\n</history>"
INSTRUCTIONS = (
    "Write two short sentences about what this person likes. Do not repeat the list.\n"
    "Example: Likes sturdy camping gear in bright colors and cooks outdoors. Lately turns to lamps and cooking pots."
)
PROMPT = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": LIST}]

LOOPS = (
    "1. Fjell & Form matte plant pot in matte matte matte matte",
    "A person who likes matte matte matte.",
    "The person likes pots. The person likes pots. The person likes pots.",
    "Enjoys gardening with sturdy tools. Lately turns to pots. Enjoys gardening with sturdy tools.",
    "Likes tools and pots and tools and pots and tools and pots and tools and pots.",
    "喜欢花盆" * 12,
    "Liebt Gartengeräte!!! " * 3,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Любит горшки и лейки, любит горшки и лейки, любит горшки и лейки",
    "a pot a can a pad a pot a can a pot a can a pad a pot a pad a can a pot a can a pad a pot a can a pot a can a pad",
)
COPIES = (
    "1. Fjell & Form matte plant pot, 12 cm",
    "1. Ironmoor reinforced watering can: 30 l (Bath) 2. Tarn Ridge heavy-duty kneeling pad: 5 cm (Garden)",
    "- Paper Moons\n- Tora! Tora! Tora!",
    "Fjell & Form matte plant pot, 12 cm; Ironmoor reinforced watering can: 30 l; Paper Moons",
    "The list: Tarn Ridge heavy-duty kneeling pad: 5 cm, Pilot B2P - Bottle to Pen - Retractable Ball Point Pens Made from "
    "Recycled Bottles, 2 Pen Pack.",
    "Likes sturdy camping gear in bright colors and cooks outdoors. Lately turns to lamps and cooking pots.",
    "Write two short sentences about what this person likes. Do not repeat the list.",
    "2) Ironmoor reinforced watering can and so on, this person has made many choices in the shop of late and will go on",
)
GOOD = (
    "Likes sturdy gardening gear from Ironmoor and Tarn Ridge, and lately films such as Tora! Tora! Tora! and Paper Moons.",
    "This person likes matte, plain things: the Fjell & Form matte plant pot shows it. Pens and films came later.",
    "A very, very careful gardener who buys once and buys well, then turns to war films.",
    "Prefers durable garden tools. Prefers brands with a name. Lately watches old films.",
    "1. Prefers durable garden tools of known makers. 2. Has turned to old films of late.",
    "Gardening.",
    "喜欢园艺工具和花盆,最近开始看老电影。偏好耐用、简洁的品牌,例如 Fjell & Form。",
    "Ha ha! A gardener with a sense of humor, who reads, writes and watches films late into the night, night after night.",
    "Over time the interest has moved from gardening gear (the reinforced watering can, the heavy-duty kneeling pad) through "
    "recycled stationery to war films; what stays is a wish for things that last, a plain look, and makers that say what a "
    "thing is made of.",
)


@pytest.mark.parametrize("text", LOOPS)
def test_a_loop_is_no_summary(text: str) -> None:
    assert validate("user", text, "stop", None, PROMPT).problem == "repeats itself"


@pytest.mark.parametrize("text", COPIES)
def test_a_copy_is_no_summary(text: str) -> None:
    assert validate("user", text, "stop", None, PROMPT).problem == "copies the prompt"


@pytest.mark.parametrize("text", GOOD)
def test_a_good_answer_stays_one(text: str) -> None:
    assert validate("user", text, "stop", None, PROMPT).problem is None


def test_a_title_that_repeats_itself_may_be_named() -> None:
    text = "A fan of war films such as Tora! Tora! Tora! and of gardening."
    assert not repeats_itself(text, PROMPT)
    assert not repeats_itself(text), "without the prompt a word may stand three times"
    assert repeats_itself("Likes pots pots pots and cans.", PROMPT)
    assert repeats_itself("Likes pots pots pots pots and cans.")


def test_the_only_item_may_be_named() -> None:
    alone = [{"role": "user", "content": f"<history>\n1. {TITLES[3]}\n</history>"}]
    assert not copies_prompt(f"Likes the {TITLES[3]} and plans ahead.", alone)
    assert copies_prompt(TITLES[3], alone)


def test_an_item_may_be_called_what_it_is() -> None:
    item = (
        "<item>\ntitle: Avery Self-Adhesive Laminating Sheets, 9 x 12 Inches\nbrand: Avery\n</item>\n<histories>\n"
        "Avery Self-Adhesive Laminating Sheets, 4 x 6 Inches; Paper Moons\n</histories>"
    )
    prompt = [{"role": "system", "content": "Example: A sturdy steel pot for camp fires. People who cook outdoors."}]
    prompt.append({"role": "user", "content": item})

    def problem(summary: str, analysis: str) -> str | None:
        answer = f'{{"item summary": "{summary}", "potential user analysis": "{analysis}"}}'
        return validate("item", answer, "stop", None, prompt).problem

    assert problem("Avery Self-Adhesive Laminating Sheets, 9 x 12 Inches.", "People in offices.") is None
    assert problem("A sturdy steel pot for camp fires.", "People who cook outdoors.") == "copies the prompt"
    assert problem("Clear sheets to laminate by hand.", "Clear sheets to laminate by hand.") == "repeats itself"


@pytest.mark.parametrize("make", [make_demo, make_goods])
def test_summaries_by_rule_would_pass_for_answers(make) -> None:
    """They name three items each and quote what titles share: 400 of them, and none is taken for a copy or a loop."""
    dataset: Dataset = make()
    prompt = choose_prompt("auto", dataset, None)
    requests = Requests(dataset, prompt, Endpoint(base_url="http://127.0.0.1/v1"), "m", max_length=50)
    owners = dataset.anchors.representing[:200]
    texts = SentenceProvider(dataset, max_length=50).texts("user", owners)
    wrong = [
        text
        for text, messages in zip(texts, requests.messages("user", owners), strict=True)
        if repeats_itself(text, messages) or copies_prompt(text, messages)
    ]
    assert wrong == []


def test_lists_and_loops_of_any_titles_are_found() -> None:
    """500 made-up lists, copied in whole, without numbers, or from their middle; a phrase of 1 to 12 words said over and over."""
    dice = random.Random(3)
    words = [
        "oak",
        "river",
        "steel",
        "lamp",
        "paper",
        "garden",
        "quiet",
        "moon",
        "crate",
        "velvet",
        "bread",
        "window",
        "stone",
    ]
    for _ in range(500):
        titles = [" ".join(dice.sample(words, dice.randint(2, 12))) for _ in range(dice.randint(3, 20))]
        lines = [f"{place}. {title}" for place, title in enumerate(titles, 1)]
        prompt = [{"role": "user", "content": "<history>\n" + "\n".join(lines) + "\n</history>"}]
        start = dice.randrange(len(lines) - 2)
        some = dice.choice([lines, titles])[start : start + dice.randint(3, 9)]
        text = dice.choice([" ", "\n", ", ", "; "]).join(some)
        assert copies_prompt(text, prompt), text
        phrase = " ".join(dice.sample(words, dice.randint(1, 12)))
        loop = f"This person likes {' '.join([phrase] * dice.randint(4, 9))}"
        assert repeats_itself(loop, prompt), loop


def test_a_prompt_without_end_costs_no_time() -> None:
    text = " ".join(np.random.default_rng(1).choice(["oak", "river", "lamp"], 40_000).tolist())
    prompt = [{"role": "user", "content": f"<history>\n{text}\n</history>"}]
    assert copies_prompt(text, prompt)
    assert repeats_itself("x" * 200_000, prompt)
