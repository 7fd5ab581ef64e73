"""What is asked, asked again and split, over a ledger in memory."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.winnow.in_memory import (
    MemoryAsker,
    answer,
    asked,
    cut,
    interview,
    names_of,
    per_block,
    reply,
    source,
    told,
    whole,
)
from winnow.answers import Answer
from winnow.asking import Interview
from winnow.calls import Reply
from winnow.checking import Part
from winnow.chunks import Chunk
from winnow.exceptions import OutputError, ProviderDownError, RejectedCallError
from winnow.prompts import Correction, Known, Question

LETTERS = "abcdefgh"
SHORT = source("The fee is 5 and the term two years.")
LONG = source(*(f"Paragraph {number} says that item {number} costs {number * 7} euros. " * 5 for number in range(40)))


def all_of(request, text):
    """A model that answers all that it is asked."""
    return reply(*(answer(name, "The fee") for name in names_of(request)))


def reasons(told_of):
    return {name: [part.error.reason if part.error else None for part in parts] for name, parts in told_of.items()}


def test_a_group_is_one_request():
    asking, asker = interview(SHORT, all_of)
    found = asking.answers(whole(SHORT), asked(*LETTERS))
    assert asker.names == [list(LETTERS)]
    assert list(found) == list(LETTERS)
    assert all(part.answer.variable == name for name, (part,) in found.items())
    assert asker.rejected == []


def test_each_chunk_is_asked_and_told_which_part_it_is():
    asking, asker = interview(LONG, lambda request, text: reply(answer("a", text[:11]), probability=0.7))
    chunks = per_block(LONG)
    found = asking.answers(chunks, asked("a"))["a"]
    assert [part.span for part in found] == [(chunk.start, chunk.end) for chunk in chunks] == asker.spans
    assert [part.part for part in found] == [(number, 40) for number in range(1, 41)]
    assert [request.question.part for request in asker.bought] == [part.part for part in found]
    assert {part.probability for part in found} == {0.7}
    assert found[3].answer.values[0].value == "Paragraph 3"


def test_entity_and_known_values_stand_in_every_request():
    context = Question(variables=(), known=(Known(variable="x", value="y"),))
    asker = MemoryAsker(SHORT.text, all_of)
    Interview(source=SHORT, asker=asker, context=context).answers(whole(SHORT), asked("a", "b"))
    (request,) = asker.bought
    assert request.question.known == context.known
    assert request.question.variables == tuple(one.prompt for one in request.asked)


def test_the_one_answer_that_is_missing_of_eight_is_asked_alone():
    def forgetful(request, text):
        names = names_of(request)
        return reply(*(answer(name, "The fee") for name in names if name != "c" or len(names) == 1))

    asking, asker = interview(SHORT, forgetful)
    found = asking.answers(whole(SHORT), asked(*LETTERS))
    assert asker.names == [list(LETTERS), ["c"]]
    assert all(len(parts) == 1 and parts[0].answer for parts in found.values())
    assert asker.rejected == []


def test_a_variable_with_two_answers_is_asked_alone():
    def undecided(request, text):
        more = [answer("b", "5")] if len(request.asked) > 1 else []
        return reply(*(answer(name, "The fee") for name in names_of(request)), *more)

    asking, asker = interview(SHORT, undecided)
    found = asking.answers(whole(SHORT), asked("a", "b", "c"))
    assert asker.names == [["a", "b", "c"], ["b"]]
    assert found["b"][0].answer.values[0].value == "The fee"


def test_an_answer_that_stays_missing_fails_its_variable_alone():
    def silent_about_c(request, text):
        return reply(*(answer(name, "The fee") for name in names_of(request) if name != "c"))

    asking, asker = interview(SHORT, silent_about_c)
    found = asking.answers(whole(SHORT), asked(*LETTERS))
    assert asker.names == [list(LETTERS), ["c"], ["c"]]
    assert reasons(found) == {name: ["missing_answer" if name == "c" else None] for name in LETTERS}
    assert asker.bought[2].question.correction == (
        Correction(variable="c", answer=None, problem="the reply has no answer for c"),
    )
    assert [(names_of(request), why) for request, why in asker.rejected] == [(["c"], "missing_answer")]


def test_a_group_without_any_answer_is_asked_in_halves():
    def overwhelmed(request, text):
        return all_of(request, text) if len(request.asked) < 3 else reply()

    asking, asker = interview(SHORT, overwhelmed)
    found = asking.answers(whole(SHORT), asked(*"abcd"))
    assert asker.names == [list("abcd"), list("abcd"), ["a", "b"], ["c", "d"]]
    assert all(part.answer for (part,) in found.values())
    assert asker.rejected == []


def at_most(number):
    def rule(request, text):
        whole_reply = all_of(request, text)
        return whole_reply if len(request.asked) <= number else told(whole_reply.text[:40], finish_reason="length")

    return rule


def test_a_group_cut_short_is_halved_down_to_one():
    asking, asker = interview(SHORT, at_most(1))
    found = asking.answers(whole(SHORT), asked(*LETTERS))
    assert sorted(map(len, asker.names)) == [1] * 8 + [2] * 4 + [4] * 2 + [8]
    assert list(found) == list(LETTERS)
    assert all(len(parts) == 1 and parts[0].answer for parts in found.values())
    assert asker.rejected == []


@settings(deadline=None, database=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_halving_asks_every_variable_once_that_can_be_answered(number, fitting):
    names = [f"v{index}" for index in range(number)]
    asking, asker = interview(SHORT, at_most(fitting))
    found = asking.answers(whole(SHORT), asked(*names))
    answered = [name for request in asker.names if len(request) <= fitting for name in request]
    assert answered == names
    assert all(parts[0].answer for parts in found.values())
    assert len(asker.bought) <= 2 * number - 1


def test_json_cut_short_is_a_cut_reply_whatever_its_provider_says():
    def cuts(request, text):
        return all_of(request, text) if len(request.asked) == 1 else told(all_of(request, text).text[:-3])

    asking, asker = interview(SHORT, cuts)
    found = asking.answers(whole(SHORT), asked("a", "b"))
    assert asker.names == [["a", "b"], ["a"], ["b"]]
    assert all(part.answer for (part,) in found.values())


def fits(length):
    """A model that answers about short texts alone."""

    def rule(request, text):
        given = answer("a", *re.findall(r"item \d+ ", text)[:1])
        return reply(given) if len(text) <= length else cut(given, characters=20)

    return rule


def test_a_single_variable_cut_short_splits_the_text():
    asking, asker = interview(LONG, fits(len(LONG.text) // 3))
    parts = asking.answers(whole(LONG), asked("a"))["a"]
    assert [part.part for part in parts] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(part.answer.status == "found" for part in parts)
    assert [request.question.part for request in asker.bought] == [
        None, (1, 2), (1, 4), (2, 4), (2, 2), (3, 4), (4, 4),
    ]  # fmt: skip
    assert covers(LONG.text, [part.span for part in parts])
    assert asker.rejected == []


def covers(text, spans):
    """Whether the spans are in order, do not overlap, and leave only white space out."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return all(end <= start and not text[end:start].strip() for end, start in zip(ends, starts, strict=True))


def test_a_part_of_a_long_document_is_split_into_parts_of_it():
    middle = len(LONG.blocks) // 2
    ends = (LONG.blocks[middle - 1].end, LONG.blocks[middle].start)
    chunks = (Chunk(0, ends[0], 1, 2), Chunk(ends[1], len(LONG.text), 2, 2))
    asking, asker = interview(LONG, fits(len(LONG.text) // 3))
    parts = asking.answers(chunks, asked("a"))["a"]
    assert [part.part for part in parts] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [request.question.part for request in asker.bought if request.span[0] == 0] == [(1, 2), (1, 4)]
    assert covers(LONG.text, [part.span for part in parts])


def test_what_is_too_long_is_split():
    def small_window(request, text):
        if len(text) > 3000:
            raise RejectedCallError("context overflow", "too_long")
        return all_of(request, text)

    asking, asker = interview(LONG, small_window)
    found = asking.answers(whole(LONG), asked("a", "b"))
    assert found.keys() == {"a", "b"}
    for parts in found.values():
        assert all(part.answer for part in parts)
        assert covers(LONG.text, [part.span for part in parts])
    assert asker.rejected == []


def test_what_cannot_be_split_any_further_stays_unread():
    asking, asker = interview(LONG, lambda request, text: told("", finish_reason="length"))
    parts = asking.answers(whole(LONG), asked("a"))["a"]
    assert {part.error.reason for part in parts} == {"truncated"}
    assert covers(LONG.text, [part.span for part in parts])
    assert len(asker.bought) == 2 * len(parts) - 1
    assert [request.span for request, _ in asker.rejected] == [part.span for part in parts]  # what was split is not
    assert {why for _, why in asker.rejected} == {"truncated"}


REFUSALS = {
    "refused": told("", refusal=True),
    "filtered": told("", finish_reason="content_filter"),
    "filtered before": RejectedCallError("filtered", "content_filtered"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_of_a_refused_group_only_the_refused_one_fails(refusal):
    def prudish(request, text):
        if "c" not in names_of(request):
            return all_of(request, text)
        if isinstance(refusal, Exception):
            raise refusal
        return refusal

    asking, asker = interview(SHORT, prudish)
    found = asking.answers(whole(SHORT), asked(*LETTERS))
    assert [name for name, (part,) in found.items() if part.error] == ["c"]
    assert found["c"][0].error.reason in ("refused", "content_filtered")
    assert asker.names.count(["c"]) == 1  # never again unchanged
    assert [names_of(request) for request, _ in asker.rejected] == ([["c"]] if isinstance(refusal, Reply) else [])


@pytest.mark.parametrize("reason", ["rejected", "invalid"])
def test_a_request_that_is_refused_for_another_reason_is_not_split(reason):
    def refuses(request, text):
        raise RejectedCallError("no", reason)

    asking, asker = interview(LONG, refuses)
    assert reasons(asking.answers(whole(LONG), asked("a", "b"))) == {"a": [reason], "b": [reason]}
    assert len(asker.bought) == 1


def spoiled(times, text="I think it is five."):
    """A model whose first replies are no JSON."""
    left = [text] * times

    def rule(request, document):
        return told(left.pop()) if left else all_of(request, document)

    return rule


def test_a_malformed_reply_is_asked_once_more_with_the_reason():
    asking, asker = interview(SHORT, spoiled(1))
    ((part,),) = asking.answers(whole(SHORT), asked("a")).values()
    assert part.answer
    assert len(asker.bought) == 2
    assert asker.bought[0].question.correction == ()
    assert asker.bought[1].question.correction == (
        Correction(variable="a", answer=None, problem="the reply holds no JSON object, or more than one"),
    )
    assert asker.rejected == []


@pytest.mark.parametrize("text", ["", "no JSON", '{"answers": [], "answers": []}'])
def test_a_reply_malformed_twice_fails(text):
    asking, asker = interview(SHORT, spoiled(2, text))
    ((part,),) = asking.answers(whole(SHORT), asked("a")).values()
    assert part.answer is None
    assert part.error.reason == ("malformed" if text else "empty_reply")
    assert len(asker.bought) == 2
    assert [why for _, why in asker.rejected] == [part.error.reason]


def test_a_group_malformed_twice_is_halved():
    asking, asker = interview(SHORT, spoiled(2))
    found = asking.answers(whole(SHORT), asked(*"abcd"))
    assert asker.names == [list("abcd"), list("abcd"), ["a", "b"], ["c", "d"]]
    assert all(part.answer for (part,) in found.values())
    assert asker.rejected == []


def test_what_gave_up_is_asked_anew_by_a_later_run_and_what_was_split_is_not():
    asking, asker = interview(LONG, lambda request, text: told("", finish_reason="length"))
    asking.answers(whole(LONG), asked("a"))
    smallest = [request.span for request, _ in asker.rejected]
    asker.bought.clear()
    asker.rule = all_of
    parts = asking.answers(whole(LONG), asked("a"))["a"]
    assert asker.spans == smallest
    assert all(part.answer for part in parts)


def test_a_malformed_variable_is_asked_anew_by_a_later_run():
    asking, asker = interview(SHORT, spoiled(2))
    assert reasons(asking.answers(whole(SHORT), asked("a"))) == {"a": ["malformed"]}
    assert asking.answers(whole(SHORT), asked("a"))["a"][0].answer
    assert len(asker.bought) == 3


def difficult(request, text):
    """A model with a fault of every kind, that answers what is small enough."""
    names = names_of(request)
    if len(names) > 3:
        return told("", finish_reason="length")
    if len(names) > 2 and not request.question.correction:
        return told("not JSON")
    if "c" in names:
        return told("", refusal=True)
    if len(text) > 3000:
        return told('{"answers": [')
    return reply(*(answer(name, text[:11]) for name in names[:2]))


def test_nothing_is_asked_twice():
    asking, asker = interview(LONG, difficult)
    asking.answers(whole(LONG), asked(*LETTERS))
    prompts = [asker.prompt(request) for request in asker.bought]
    assert len(prompts) > 20
    assert len(set(prompts)) == len(prompts)


class Down:
    """A provider that goes down after some replies."""

    def __init__(self, after):
        self.left = after

    def __call__(self, request, text):
        if not self.left:
            raise ProviderDownError("down")
        self.left -= 1
        return difficult(request, text)


def outcomes(told_of):
    return {name: [part.answer or part.error.reason for part in parts] for name, parts in told_of.items()}


@settings(deadline=None, database=None, max_examples=40)
@given(st.integers(0, 60))
def test_after_an_interruption_only_what_is_missing_is_asked(after):
    undisturbed, reference = interview(LONG, difficult)
    expected = outcomes(undisturbed.answers(whole(LONG), asked(*LETTERS)))
    asking, asker = interview(LONG, Down(after))
    interrupted = False
    try:
        asking.answers(whole(LONG), asked(*LETTERS))
    except ProviderDownError:
        interrupted = True
        asker.bought.pop()  # brought nothing
    assert interrupted == (after < len(reference.bought))
    before, given_up = {asker.prompt(request) for request in asker.bought}, len(asker.rejected)
    gave_up = {asker.prompt(request) for request, _ in asker.rejected}
    asker.bought.clear()
    asker.rule = difficult

    assert outcomes(asking.answers(whole(LONG), asked(*LETTERS))) == expected
    assert {asker.prompt(request) for request in asker.bought} & before == gave_up
    assert len(before) + len(asker.bought) == len(reference.bought) + given_up


def test_threads_may_ask_the_chunks():
    from concurrent.futures import ThreadPoolExecutor

    asker = MemoryAsker(LONG.text, lambda request, text: reply(answer("a", text[:12])))
    with ThreadPoolExecutor(4) as pool:
        asking = Interview(source=LONG, asker=asker, context=Question(variables=()), spread=pool.map)
        found = asking.answers(per_block(LONG), asked("a"))["a"]
    assert [part.answer.values[0].value.split()[1] for part in found] == [str(number) for number in range(40)]


CORRECTION = Correction(variable="a", answer="-5", problem="is below the minimum, 0.0")


def a_part(**more):
    return Part(span=(4, 20), answer=Answer(**answer("a", "-5")), probability=0.5, **more)


def test_again_shows_what_was_wrong_and_brings_the_new_answer():
    asking, asker = interview(SHORT, lambda request, text: reply(answer("a", "5"), probability=0.8))
    part = asking.again(a_part(part=(2, 3)), *asked("a"), [CORRECTION])
    (request,) = asker.bought
    assert request.question.correction == (CORRECTION,)
    assert (request.span, request.question.part) == ((4, 20), (2, 3))
    assert (part.answer.values[0].value, part.probability, part.span, part.part) == ("5", 0.8, (4, 20), (2, 3))


def test_again_keeps_the_correction_where_the_reply_is_malformed():
    asking, asker = interview(SHORT, spoiled(1))
    assert asking.again(a_part(), *asked("a"), [CORRECTION]).answer.values[0].value == "The fee"
    assert asker.bought[1].question.correction[0] == CORRECTION
    assert len(asker.bought[1].question.correction) == 2


NOTHING = {
    "malformed twice": spoiled(2),
    "cut short": lambda request, text: told("", finish_reason="length"),
    "refused": lambda request, text: told("", refusal=True),
    "another's answer": lambda request, text: reply(answer("b", "5")),
}


@pytest.mark.parametrize("rule", NOTHING.values(), ids=NOTHING)
def test_again_keeps_the_part_where_nothing_better_comes(rule):
    asking, asker = interview(SHORT, rule)
    part = a_part()
    assert asking.again(part, *asked("a"), [CORRECTION]) is part
    assert asker.rejected == []  # the answer stands: nothing is to be bought again


def test_again_passes_on_that_the_provider_is_down():
    asking, _ = interview(SHORT, Down(0))
    with pytest.raises(ProviderDownError):
        asking.again(a_part(), *asked("a"), [CORRECTION])


def test_giving_up_on_a_call_without_a_reply_rejects_nothing():
    asking, asker = interview(SHORT, all_of)
    request = asking.request(*whole(SHORT), (0, 5), asked("a"))
    asker.ask(request)
    asking.give_up(request, RejectedCallError("no"))
    assert asker.rejected == []
    asking.give_up(request, OutputError("refused", "no"))
    assert asker.rejected == [(request, "refused")]
