"""Pages, docstrings, comments and messages are in plain English: no word or construction of a short list.

A finding names the file, the line, the rule, and a better wording. The rules catch habits, not errors of grammar. If a
phrase is right after all, make its rule narrower; if a bad phrase got through, add a rule with its two examples.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name, pages

PAGES = [
    *(page for page in pages() if page.name != "ARCHITECTURE.md"),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "examples").rglob("*.md")),
]
CODE = [
    "src/remit/catalog",
    "src/remit/errors.py",
    "src/remit/codec.py",
    "src/remit/cli",
    "src/remit/boundaries",
    "src/remit/testing",
    "src/remit/adapters",
]
"""Folders and files whose comments, docstrings and messages are checked, below the root."""


@dataclass(frozen=True)
class Rule:
    """One habit: its pattern, what to write instead, a text in which it is found, and one in which it is not."""

    name: str
    pattern: str
    instead: str
    found: str
    passed: str

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        return re.finditer(self.pattern, text, re.IGNORECASE)


START = r"(?:\A|(?<=[.:;!?(|#*-] )|(?<=[.:;!?|]\n)|(?<=\n\n))"
"""Where a sentence, a clause, a cell, a heading or an item of a list begins."""

RULES = [
    Rule(
        "told",
        r"\b(?:told|tells|said)\b",
        "reported, logged, resolved, known, configured, documented",
        "A blocked loop is told in the log.",
        "A blocked loop is logged.",
    ),
    Rule(
        "say so",
        r"\b(?:say|says|saying) so\b",
        "reports it, logs it, declare it, configure it",
        "The summary says so.",
        "The summary reports it.",
    ),
    Rule(
        "who without a noun",
        START + r"who\b(?![^.\n]*\?)|\b(?:knows?|of|for|by|to|from|with|and|but|than)\s+who\b|\bwho(?:so)?ever\b",
        "name the actor: the worker, a process, a person, the caller",
        "Who got the lock goes on. The lock is held by whoever came first.",
        "A worker that got the lock continues. The person who replayed it is recorded. Who owns it?",
    ),
    Rule(
        "what without a noun",
        r"\b(?:of|for|by|with|from|into|than|and|but|beside|without)\s+what\b|" + START + r"what\b(?![^.\n]*\?)",
        "name the thing: jobs that wait, the rows that were written",
        "What commits later is brought by the relay, and what fails is retried.",
        "The relay delivers later commits. What is a line? The text shows what to write.",
    ),
    Rule(
        "what becomes of",
        r"\bwhat(?:ever)? (?:becomes|became|comes|came) of\b",
        "the state of, the result of, whether or not it succeeds",
        "The job is kept whatever became of it.",
        "The job is kept in any state.",
    ),
    Rule(
        "nobody",
        r"\b(?:nobody|somebody|someone)(?:'s)?\b",
        "name the actor: no worker, another process, a person; or use the passive",
        "Nobody claims it.",
        "No worker claims it.",
    ),
    Rule(
        "word",
        r"\b(?:has|have|had) the (?:last )?word\b|\bwithout a word\b|\bkeeps? (?:its|their) word\b|\bin words\b",
        "decides, takes precedence; silently; keeps its contract",
        "Then SQLite's own lock has the word.",
        "Then SQLite's own lock decides.",
    ),
    Rule(
        "manners",
        r"\b(?:manners|courtesy|polite(?:ly)? (?:wait|pause)s?)\b",
        "write pacing, protocol, convention",
        "The manners of one connection.",
        "Write pacing of one connection.",
    ),
    Rule(
        "metaphor",
        r"\b(?:bells?|usher|ferry|lookouts?|rouses?|roused)\b",
        "wake-up, sequencer, connection thread, poller, wakes",
        "The bell rings.",
        "The wake-up arrives.",
    ),
    Rule(
        "lets go",
        r"\b(?:lets?|letting) (?:\w+ )?(?:go|in)\b",
        "releases, advances, admits",
        "The last one lets go what was held.",
        "The last one releases the hold.",
    ),
    Rule(
        "in vain",
        r"\bin vain\b|\bof (?:its|their) own accord\b|\bby (?:its|their) own will\b",
        "without result, needlessly; automatically",
        "The thread wakes in vain.",
        "The thread wakes needlessly.",
    ),
    Rule(
        "hear",
        r"\b(?:hears?|heard|hearing|ears)\b",
        "receives, gets, subscribes to, is notified of",
        "Both subscriptions hear the event.",
        "Both subscriptions get the event.",
    ),
    Rule(
        "mend",
        r"\bmend(?:s|ed|ing)?\b",
        "fix, repair, correct",
        "Mend the cause.",
        "Fix the cause.",
    ),
    Rule(
        "hold up",
        r"\b(?:holds?|held|holding) up\b",
        "blocks, delays",
        "It holds up the others.",
        "It blocks the others.",
    ),
    Rule(
        "stand for be",
        r"\b(?:stands?|stood) (?:in|on|at|under|beside|behind|here|there|above|below)\b",
        "is in, is defined in, is written beside",
        "The rule stands in one file.",
        "The rule is in one file. A package stands for its modules.",
    ),
    Rule(
        "lie for be",
        r"\b(?:lies|lay) (?:in|on|at|beside|behind|below|above|there)\b",
        "is in, is on",
        "The file lies on a network disk.",
        "The file is on a network disk.",
    ),
    Rule(
        "taken for",
        r"\b(?:takes?|took|taken|taking)\b[^.]{0,40}\bfor (?:dead|done|saved)\b",
        "declares dead, considers done",
        "The worker was taken for dead.",
        "The worker was declared dead.",
    ),
    Rule(
        "is no",
        r"(?<!there )(?<!there\n)\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|other\b|better\b|worse\b|need\b)",
        "is not a, is not",
        "That is no id of a job.",
        "That is not the id of a job. There is no job. It is no longer open.",
    ),
    Rule(
        "question for a condition",
        START + r"(?:Is|Are|Has|Have|Does) (?:an?|the|it|there) [^.?\n]*,[^.?\n]*\.",
        "If …",
        "Is a queue needed in two modules, declare it in one.",
        "If two modules need a queue, declare it in one. Is it in the file, or in the environment?",
    ),
    Rule(
        "old words",
        r"\b(?:anew|thereof|wherein|whereof|heretofore|lest|nought|naught)\b",
        "again, of it, in which, so that … not",
        "The file is written anew.",
        "The file is written again.",
    ),
    Rule(
        "know again",
        r"\bknows? (?:it|them|this|that) again\b",
        "recognises",
        "The other side knows it again.",
        "The other side recognises it.",
    ),
    Rule(
        "at home",
        r"\b(?:at home|in the clothes|plays the|the price (?:is|of it)|is yours to)\b",
        "the plain term: supported, adapts, acts as, the cost",
        "The price is yours to know.",
        "Know the cost.",
    ),
]


@dataclass(frozen=True)
class Text:
    """A piece of English: a paragraph of a page, a comment, a string. `line` is that of its first character."""

    line: int
    text: str


def findings(texts: Iterator[Text]) -> Iterator[tuple[int, Rule, str]]:
    for each in texts:
        for rule in RULES:
            for match in rule.matches(each.text):
                words = match[0].strip(" .:;|(\n")
                at = match.start() + match[0].find(words)
                yield each.line + each.text.count("\n", 0, at), rule, " ".join(words.split())


def prose(page: Path) -> Iterator[Text]:
    """A page without code. Lines keep their numbers."""
    text = re.sub(r"^( *)```.*?^\1```$|^    .*?$|<!--.*?-->", _blank, page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|(?<=\])\([^)\s]*\)", _code, text)
    yield Text(1, text)


def sources(file: Path) -> Iterator[Text]:
    """Comments and strings of a file of Python or SQL."""
    text = file.read_text()
    if file.suffix == ".sql":
        yield from _comments((text.count("\n", 0, m.start()) + 1, m[1]) for m in re.finditer(r"--(.*)", text))
        return
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    yield from _comments((token.start[0], token.string[1:]) for token in tokens if token.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_english(node.value):
            yield Text(node.lineno, re.sub(r"`[^`]*`", _code, node.value))


def _is_english(text: str) -> bool:
    """Whether a string is more than a word, and not a list of words."""
    return " " in text.strip() and (len(text.split()) < 20 or bool(re.search(r"[.,:;]", text)))


def _comments(lines: Iterator[tuple[int, str]]) -> Iterator[Text]:
    """Comments on consecutive lines are one text."""
    first, last, parts = 0, -1, list[str]()
    for line, words in lines:
        if line != last + 1 and parts:
            yield Text(first, re.sub(r"`[^`]*`", _code, "\n".join(parts)))
            parts = []
        if not parts:
            first = line
        parts.append(words)
        last = line
    if parts:
        yield Text(first, re.sub(r"`[^`]*`", _code, "\n".join(parts)))


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def _code(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match[0])


def files() -> list[Path]:
    found = [ROOT / each for each in CODE]
    return [
        file
        for each in found
        for file in ([each] if each.is_file() else sorted(each.rglob("*")))
        if file.suffix in {".py", ".sql"}
    ]


def report(path: Path, texts: Iterator[Text]) -> str:
    return "\n".join(
        f"{path.relative_to(ROOT)}:{line}: {rule.name}: {words!r}; instead: {rule.instead}"
        for line, rule, words in findings(texts)
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_in_plain_english(page: Path) -> None:
    assert not (found := report(page, prose(page))), f"\n{found}"


def test_comments_docstrings_and_messages_are_in_plain_english() -> None:
    found = "\n".join(filter(None, (report(file, sources(file)) for file in files())))
    assert not found, f"\n{found}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_finds_its_example_and_passes_the_better_wording(rule: Rule) -> None:
    assert list(rule.matches(rule.found))
    assert not list(rule.matches(rule.passed))
