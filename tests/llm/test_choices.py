"""Prompts that offer choices: what may be chosen, how a request says so, what is made of an answer, and who names such a prompt."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import SemanticsConfig
from engine.data.dataset import Dataset, Items
from engine.data.demo import make_demo
from engine.data.goods import make_goods
from engine.errors import ConfigError
from engine.semantics.llm.choices import Choices
from engine.semantics.llm.endpoints import Endpoint, read_endpoints
from engine.semantics.prompts import choose_prompt, read_prompts
from engine.semantics.summaries.choice_fields import CHOICE_BYTES
from engine.semantics.summaries.prompt_requests import Requests
from engine.semantics.summaries.registry import build_provider
from tests.support.commands import sracl_inside

from .conftest import entry, sql
from .replies import always, document

USER = Choices(
    "user",
    {
        "theme": ("Japanese zen", "bamboo grove"),
        "category": ("Kitchen",),
        "maker": ("Hinoki House", "Maple Torii"),
        "latest": ("Japanese zen mug",),
        "typical": ("Japanese zen mug", "Japanese zen tea kettle"),
    },
)
ITEM = Choices(
    "item",
    {
        "name": ("Paper Moons",),
        "category": ("Drama", "Comedy"),
        "likes": ("Drama", "Western"),
        "beside": ("Last Bridge",),
    },
)


def test_sentences_are_made_of_what_is_chosen_and_of_what_needs_no_choice() -> None:
    picks = {"theme": "bamboo grove", "maker": "Hinoki House", "typical": "Japanese zen tea kettle"}
    assert USER.text(json.dumps(picks)) == (
        "This person is drawn to bamboo grove (mostly Kitchen), often from Hinoki House. A typical choice is Japanese zen tea "
        "kettle, the latest one Japanese zen mug."
    )
    assert USER.text('Sure: {"Theme": "JAPANESE  zen", "MAKER": "maple torii", "typical": "Japanese zen mug"}') == (
        "This person is drawn to Japanese zen (mostly Kitchen), often from Maple Torii. The latest choice is Japanese zen mug."
    )
    assert ITEM.text('{"category": "Comedy", "likes": "Western"}') == (
        "This item is Paper Moons; it belongs to Comedy.\nIt suits people drawn to Western, who also chose Last Bridge."
    )


@pytest.mark.parametrize(
    "answer",
    ["", "bamboo grove", "{}", '{"theme": "bamboo grove", "maker": "Hinoki House"}', "[1]",
     '{"theme": "steel", "maker": "Hinoki House", "typical": "Japanese zen mug"}',
     '{"theme": 3, "maker": null, "typical": []}'],
)  # fmt: skip
def test_an_answer_beyond_the_choices_is_none(answer: str) -> None:
    assert USER.text(answer) is None


def of_titles(titles: list[str], attributes: list[dict[str, list[str]]] | None = None) -> Dataset:
    """Three users, each of whom had a third of the items and the first two."""
    items = Items([str(n) for n in range(len(titles))], titles, attributes or [{} for _ in titles])
    rows = [[1, 2, *(item + 1 for item in range(len(titles)) if item % 3 == user)] for user in range(3)]
    bounds = np.cumsum([0, *map(len, rows)])
    return Dataset("made", ["a", "b", "c"], items, np.concatenate(rows).astype(np.int32), bounds, None)


def rendered(dataset: Dataset, **fields: Any) -> list[tuple[str, Choices]]:
    """The data and the choices of every prompt of a dataset."""
    endpoint = Endpoint.model_validate({"base_url": "http://127.0.0.1/v1", "structured": "schema", **fields})
    requests = Requests(dataset, choose_prompt("choices-1", dataset, None), endpoint, "m", max_length=50)
    owners = {"user": dataset.anchors.representing, "item": np.flatnonzero(dataset.train_counts)}
    found: list[tuple[str, Choices]] = []
    for kind, ids in owners.items():
        for messages, choices in requests.rendered(kind, ids):  # pyright: ignore[reportArgumentType]
            assert choices is not None
            found.append((messages[1]["content"], choices))
    return found


def random_pick(choices: Choices, dice: random.Random) -> str:
    return json.dumps({name: dice.choice(some) for name, some in choices.asked.items()}, ensure_ascii=False)


@pytest.mark.parametrize("make", [make_demo, make_goods])
def test_every_choice_stands_in_the_items_and_every_answer_reads(make) -> None:
    dataset, dice = make(), random.Random(1)
    known = " ".join(" ".join(text.split()) for text in dataset.items.texts).casefold()
    prompts = rendered(dataset)
    assert len(prompts) > 400
    asked = sum(any(len(some) > 1 for some in choices.asked.values()) for _, choices in prompts)
    assert asked > 0.9 * len(prompts), "almost everywhere there is something to choose"
    for data, choices in prompts:
        assert len(data) < 900
        for some in choices.fields.values():
            assert len({choice.casefold() for choice in some}) == len(some)
            for choice in some:
                assert all(word in known for word in choice.casefold().split())
        text = choices.text(random_pick(choices, dice))
        assert text is not None
        assert 5 <= len(text.split()) <= 70
        assert text.endswith(".")


ODD = (
    "日本の茶道具と竹の急須",
    "",
    " ",
    '"quoted" | {brace} <b>',
    "\ufffd broken",
    "a\nb\tc",
    "🎬" * 40,
    "x" * 500,
    "The The",
)


def test_any_titles_have_choices_that_fit_into_an_answer() -> None:
    """120 made-up sets of odd titles: something can always be chosen, and no answer is longer than `max_tokens` allows."""
    dice = random.Random(2)
    for _ in range(120):
        titles = [dice.choice([*ODD, f"Winter Harbor {dice.randrange(9)}"]) for _ in range(dice.randint(9, 15))]
        more = [{"genres": [dice.choice([*ODD, "Drama"])], "brand": [dice.choice(ODD)]} for _ in titles]
        for data, choices in rendered(of_titles(titles, dice.choice([None, more]))):
            data.encode()
            longest = json.dumps({name: max(some, key=len) for name, some in choices.asked.items()}, ensure_ascii=False)
            assert len(longest.encode()) < 400, "tokens of any tokenizer"
            assert all(len(choice.encode()) <= CHOICE_BYTES for some in choices.fields.values() for choice in some)
            text = choices.text(random_pick(choices, dice))
            assert text is not None
            assert "  " not in text


def test_titles_alone_and_films_have_choices() -> None:
    films = of_titles([f"{word} Harbor ({1950 + n})" for n, word in enumerate(["Silent", "Paper", "Winter", "Last", "Iron", "Quiet"])],
                      [{"genres": [genre]} for genre in ["Drama", "Comedy", "Drama", "Western", "Drama", "Comedy"]])  # fmt: skip
    users = [choices for _, choices in rendered(films) if choices.kind == "user"]
    assert all({"latest", "typical", "category"} <= set(choices.fields) for choices in users)
    assert all(set(choices.fields["category"]) <= {"Drama", "Comedy", "Western"} for choices in users)
    bare = of_titles([f"Pilot Gel Pen Fine Point, {n} Pack" for n in range(1, 8)])
    assert all(len(choices.fields["latest"][0].split()) >= 3 for _, choices in rendered(bare) if choices.kind == "user")


def first_of_schema(body: Any) -> tuple[int, Any]:
    """The last choice of each field of the schema."""
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    return 200, document(body, json.dumps({name: field["enum"][-1] for name, field in fields.items()}))


def test_a_run_of_commands_on_an_endpoint_that_names_the_prompt(serve, tmp_path: Path) -> None:
    server = serve(reply=always(first_of_schema))
    (tmp_path / "providers.toml").write_text(entry(server, prompt="choices-1", batch={"price_factor": 0.5}))
    tested = json.loads(sracl_inside(tmp_path, "llm", "test", "fake", "--json").stdout)
    assert (tested["prompt"], tested["works"]) == ("choices-1", True)
    assert [answer["calls"] for answer in tested["answers"]] == [1, 1]
    asked = {kind: json.dumps(server.seen[place]["messages"]) for place, kind in enumerate(("user", "item"))}
    few = ("--provider", "fake", "--set", "max_users=12", "--unit", "user", "--headless", "--json")
    done = json.loads(sracl_inside(tmp_path, "summarize", *few).stdout)
    assert done["cost"]["fallbacks"] == 0
    rows = sql(tmp_path, "SELECT kind, text, fallback, prompt_version FROM summaries JOIN summary_links USING (key) "
               "JOIN summary_sets USING (set_id)")  # fmt: skip
    assert {row["prompt_version"] for row in rows} == {"choices-1"}
    assert all(row["text"].startswith(("This person is drawn to", "This item is")) for row in rows)
    sent = {json.dumps(body["messages"]) for body in server.seen[2:]}
    whole = json.loads(sracl_inside(tmp_path, "prompts", "show", "choices-1", "--json").stdout)
    assert set(whole["schemas"]) == {"user", "item"}
    assert asked["item"] in sent | {asked["item"]}
    assert all("<choices>" not in text for text in sent), "the schema says it"
    calls = server.requests
    again = json.loads(sracl_inside(tmp_path, "summarize", *few).stdout)
    assert (again["cost"]["calls"], server.requests) == (0, calls), "the same prompts have the same keys"
    refused = sracl_inside(tmp_path, "summarize", *few[:-1], "--batch", "--dry-run", code=2)
    assert "offers choices" in refused.stderr


def test_without_a_schema_the_prompt_lists_the_choices_and_others_are_asked_again(serve, tmp_path: Path) -> None:
    def reply(body: Any) -> tuple[int, Any]:
        if len(body["messages"]) == 2:
            return 200, document(body, '{"theme": "something else", "likes": "something else"}')
        lines = body["messages"][1]["content"].split("<choices>\n")[1].split("\n</choices>")[0].splitlines()
        return 200, document(
            body, json.dumps({name: rest.split(" | ")[0] for name, rest in (line.split(": ", 1) for line in lines)})
        )

    server = serve(reply=always(reply))
    (tmp_path / "providers.toml").write_text(entry(server, structured="off"))
    few = (
        "--provider",
        "fake",
        "--set",
        "max_users=3",
        "--unit",
        "user",
        "--set",
        "prompt=choices-1",
        "--headless",
        "--json",
    )
    done = json.loads(sracl_inside(tmp_path, "summarize", "--kind", "user", *few).stdout)
    assert done["cost"]["fallbacks"] == 0
    assert [row["error"] for row in sql(tmp_path, "SELECT error FROM api_calls ORDER BY attempt")] == [
        "no choice"
    ] * 3 + [None] * 3


def test_an_entry_names_its_prompt_for_all_models_or_for_one(tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text('[vllm]\nprompt = "small-1"\n[mine]\nbase_url = "http://127.0.0.1:1/v1"\nprompt = "none-7"\n')
    demo = make_demo()

    def version(provider: str, llm: str, prompt: str = "auto") -> str:
        config = SemanticsConfig(provider=provider, llm=llm, prompt=prompt)
        return build_provider(config, demo, max_length=20, home=tmp_path).prompt_version

    assert version("llamacpp", "smollm2") == "choices-1"
    assert version("llamacpp", "qwen2.5-3b") == "products-1", "as ever"
    assert version("llamacpp", "smollm2", "small-1") == "small-1", "the run's own setting wins"
    assert version("vllm", "any") == "small-1"
    with pytest.raises(ConfigError, match="no prompt 'none-7'") as caught:
        version("mine", "any")
    assert caught.value.where == "mine.prompt"
    file.write_text('[llamacpp]\nprompt = {smollm2 = "small-1", other = "generic-1"}\n')
    assert [version("llamacpp", llm) for llm in ("smollm2", "other", "third")] == ["small-1", "generic-1", "products-1"]
    file.write_text("[llamacpp]\nprompt = 3\n")
    with pytest.raises(ConfigError, match=r"llamacpp\.prompt"):
        read_endpoints(tmp_path)


def test_a_missing_key_and_a_missing_server_say_what_helps(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    assert "No key? A small model" in sracl_inside(tmp_path, "llm", "list").stderr
    few = ("--set", "max_users=3", "--unit", "user", "--kind", "user", "--headless")
    asked = sracl_inside(tmp_path, "summarize", "--provider", "deepseek", *few, code=2)
    assert "sracl llm install" in asked.stderr
    asked = sracl_inside(tmp_path, "summarize", "--provider", "llamacpp", *few, code=2)
    assert "smollm2" in asked.stderr
    limits = "limits = {concurrency = 1, attempts = 1}"
    (tmp_path / "providers.toml").write_text(f'[llamacpp]\nbase_url = "http://127.0.0.1:9/v1"\n{limits}\n')
    asked = sracl_inside(tmp_path, "llm", "test", "llamacpp", "--model", "smollm2", code=1)
    assert "Is the server running? `sracl llm serve`" in asked.stderr


def test_a_home_may_have_its_own_prompt_of_choices(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    file = tmp_path / "prompts" / "pick-1.toml"
    versions = set()
    for task in ("", 'task = "text"\n', 'task = "choices"\n'):
        file.write_text(f'{task}user = "U"\nitem = "I"\n')
        versions.add(read_prompts(tmp_path)["pick-1"].version)
    assert len(versions) == 2, "a task of its own is a version of its own; without one the version is as ever"
    file.write_text('task = "poem"\nuser = "U"\nitem = "I"\n')
    with pytest.raises(ConfigError, match="task = 'poem'"):
        read_prompts(tmp_path)


def test_keys_of_prompts_that_ask_for_a_text_are_as_ever() -> None:
    """Answers of earlier versions stay in use: these keys were made before prompts could offer choices."""
    dataset = make_goods()
    found = {}
    for name, structured in (("products-1", "schema"), ("small-1", "off")):
        endpoint = Endpoint.model_validate({"base_url": "http://127.0.0.1/v1", "structured": structured})
        requests = Requests(dataset, choose_prompt(name, dataset, None), endpoint, "m", max_length=50)
        for kind in ("user", "item"):
            found[name, kind] = requests.key(kind, next(requests.messages(kind, np.array([1]))))
    assert found == {
        ("products-1", "user"): "c267c414f7f37a9bef88b21268b7fd29",
        ("products-1", "item"): "75033000390120a44f68d337e3a5a4f6",
        ("small-1", "user"): "97db2958ee26d79c87f9ab8f632c8a6c",
        ("small-1", "item"): "269fe27fb3ea8a96bf0ce48099fb412d",
    }
