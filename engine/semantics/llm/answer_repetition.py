"""Answers that are no summary whatever their form: those that repeat themselves, and those that copy the prompt.

Small models fall into loops and copy the list or the example they were shown; large ones do at times. A good answer names
items, too, so only what is almost nothing but copied counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from engine.semantics.llm.answer_format import Message

MOST_WORDS = 2000
"""Words of an answer that are looked at."""
LONGEST_LOOP = 16
"""Most words of a phrase that is looked for again right behind itself."""
LOOPS = 3
"""Times in a row from which a phrase is a loop; one more for a single word where the prompt is not known."""
SENTENCE_WORDS = 5
"""Least words of a sentence that may not stand twice."""
DIVERSITY_WORDS, DIVERSITY = 24, 0.6
"""From so many words on, at least this share of an answer's triples of words has to be different."""
RUN = 5
"""Neighboring words that count as copied; all words of a line do, however few they are."""
COPIED, COPIED_OF_ONE = 0.6, 0.9
"""Share of an answer's words that are copied from which it is no summary; the second where all of them are of one line."""
LEAST_WORDS = 6
"""Words of an answer below which naming an item is no copy of the list."""

_WORD = re.compile(r"[^\W_]+(?:['’&.-][^\W_]+)*")
_MARKER = re.compile(r"(?:^|(?<=\s))(?:\(?\d{1,3}[.)]|[-*•])\s+")
_SENTENCE = re.compile(r"[.!?。！？]+\s*|\n+")
_GLUED = re.compile(r"(\S{3,60}?)\1{3,}|(\w)\2{15,}")
_LISTS = re.compile(r"<(history|histories)>\n(.*?)\n</\1>", re.DOTALL)
_ITEM = re.compile(r"<item>\n(.*?)\n</item>", re.DOTALL)
_EXTRA = re.compile(r"\s\([^()]*\)$")


def repeats_itself(text: str, messages: Sequence[Message] | None = None) -> bool:
    """Whether a phrase, a sentence or a run of letters follows itself again and again.

    Args:
        messages: of the prompt: what repeats itself there, such as the title of a film, may do so in the answer. None if not known.
    """
    words = _words(text)[:MOST_WORDS]
    known = None if messages is None else _joined(_words("\n".join(message["content"] for message in messages)))
    if any(_loops(words, size, known) for size in range(1, LONGEST_LOOP + 1)):
        return True
    said = [tuple(part) for line in _SENTENCE.split(text) if len(part := _words(line)) >= SENTENCE_WORDS]
    if len(set(said)) < len(said):
        return True
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if len(words) >= DIVERSITY_WORDS and len(set(triples)) < DIVERSITY * len(triples):
        return True
    found = _GLUED.search(text[: 4 * MOST_WORDS])
    return found is not None and (known is None or found.group().casefold() not in known)


def _loops(words: list[str], size: int, known: str | None) -> bool:
    """Whether a phrase of `size` words stands behind itself often enough, and does not do so in the prompt."""
    times = LOOPS + (size == 1 and known is None)
    needed, same = size * (times - 1), 0
    for place in range(len(words) - size):
        same = same + 1 if words[place] == words[place + size] else 0
        if same >= needed:
            start = place - needed + 1
            if known is None or _joined(words[start : start + size * times]) not in known:
                return True
    return False


def copies_prompt(text: str, messages: Sequence[Message]) -> bool:
    """Whether an answer is almost nothing but lines of the list, or words of the instructions, that it was given.

    What an item's own title and fields say may be said again.
    """
    instructions = [message["content"] for message in messages if message["role"] == "system"]
    data = "\n".join(message["content"] for message in messages if message["role"] != "system")
    lines = [_MARKER.sub("", line, count=1) for _, found in _LISTS.findall(data) for line in found.split("\n")]
    lines += [part for line in lines for part in [_EXTRA.sub("", line), *line.split("; ")] if part != line]
    listed = [words for line in dict.fromkeys(lines) if (words := _words(line))]
    if _begins_like_list(text, listed):
        return True
    words = _words(_MARKER.sub(" ", text))[:MOST_WORDS]
    if len(words) < LEAST_WORDS:
        return False
    own = _covered(words, [_words(line) for found in _ITEM.findall(data) for line in found.split("\n")])
    sources = [*listed, *(_words(line) for part in instructions for line in _SENTENCE.split(part))]
    copied = _covered(words, sources) - own
    limit = COPIED_OF_ONE if any(len(_covered(words, [one]) - own) == len(copied) for one in listed) else COPIED
    return len(copied) >= limit * len(words)


def _begins_like_list(text: str, lines: Iterable[list[str]]) -> bool:
    """Whether an answer begins as an entry of a list, with the words of a line of the prompt's list."""
    marker = _MARKER.match(text)
    if marker is None:
        return False
    first = _words(text[marker.end() :][:400])
    return any(first[: min(RUN - 1, len(line))] == line[: RUN - 1] for line in lines)


def _covered(words: list[str], sources: Iterable[list[str]]) -> set[int]:
    """Places of words in runs of at least `RUN` words, or of a whole source if it is shorter, that stand so in a source."""
    runs: dict[int, set[tuple[str, ...]]] = {}
    for source in sources:
        size = min(RUN, len(source))
        if size:
            runs.setdefault(size, set()).update(tuple(source[at : at + size]) for at in range(len(source) - size + 1))
    covered: set[int] = set()
    for size, some in runs.items():
        for at in range(len(words) - size + 1):
            if tuple(words[at : at + size]) in some:
                covered.update(range(at, at + size))
    return covered


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _joined(words: list[str]) -> str:
    """Words with a blank around each, to look for some of them in others."""
    return f" {' '.join(words)} "
