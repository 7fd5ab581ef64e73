"""What came back from a call: kept as it came, rejected where it is no answer."""

import json

import pytest
from sqlalchemy import select

from db import tables
from db.session import transaction
from tests import factories
from tests.db.test_calls import fail, intend, keep, register, reject, row, set_status
from winnow.calls import Intent, Reply, Usage

_call = tables.Call.__table__


class TestKeepReply:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(raw={}, text=""),
            Reply(raw={"a": [1, 2.5, None, True, "x"]}, text="{}", finish_reason="length", refusal=True),
            Reply(raw={"z": 1, "a": 2}, text="x", usage=Usage(prompt_tokens=2_000_000_000), seconds=0.1),
            Reply(raw={}, text="x", probability=0.1 + 0.2),
            Reply(raw={"content": "NUL \0 here"}, text="a \0 b"),
            Reply(raw={"content": "half of a pair \ud83d, \udc00\ud800"}, text="\udfff alone"),
            Reply(raw={"content": "\\u0000 \\ud800 written out, \x7f \u2028"}, text="日本語 🙂"),
            Reply(raw={"\0key": {"\ud800": 1}}, text="x"),
            Reply(raw={"logprobs": [1e308, 5e-324, 0.1, 10**40]}, text="x"),
            Reply(raw={"long": "x" * 3_000_000}, text="x"),
        ],
        ids=["empty", "cut short", "counted", "probable", "NUL", "surrogates", "escapes", "keys", "numbers", "long"],
    )
    def test_a_reply_comes_back_as_it_came(self, order, worker, reply):
        call = intend(order, worker).call_id
        keep(call, reply)
        assert intend(order, worker) == Intent(call_id=call, reply=reply)

    def test_numbers_that_json_does_not_know_are_kept_as_text(self, order, worker):
        keep(
            intend(order, worker).call_id,
            Reply(raw={"logprobs": [float("-inf"), float("inf"), float("nan"), 0.5]}, text="x"),
        )
        kept = Reply(raw={"logprobs": ["-Infinity", "Infinity", "NaN", 0.5]}, text="x")
        assert intend(order, worker).reply == kept

    def test_the_order_of_the_raw_reply_is_kept(self, order, worker):
        keep(intend(order, worker).call_id, Reply(raw={"z": 1, "a": {"y": 1, "b": 2}}, text="x"))
        assert json.dumps(intend(order, worker).reply.raw) == '{"z": 1, "a": {"y": 1, "b": 2}}'

    def test_what_it_cost_is_kept_with_it(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, factories.reply(), cost=0.0125, estimated=True)
        stored = row(call)
        assert (stored.cost, stored.cost_estimated, stored.prompt_tokens) == (0.0125, True, 100)
        assert stored.answered_at is not None

    def test_a_model_without_a_price_has_no_cost(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, factories.reply())
        assert (row(call).cost, row(call).cost_estimated) == (None, False)

    def test_a_reply_is_kept_when_its_job_has_stopped_meanwhile(self, order, worker):
        call = intend(order, worker).call_id
        set_status(order.job_id, "cancelled")
        keep(call, factories.reply())
        assert row(call).status == "answered"

    def test_a_failure_does_not_take_a_reply_away(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, reply := factories.reply())
        fail(call)
        assert intend(order, worker) == Intent(call_id=call, reply=reply)

    def test_a_reply_after_a_failure_is_the_answer(self, order, worker):
        call = intend(order, worker).call_id
        fail(call)
        keep(call, reply := factories.reply())
        assert (row(call).status, row(call).error) == ("answered", None)
        assert intend(order, worker).reply == reply

    def test_of_two_bought_at_once_the_first_answer_stays(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, first := factories.reply("first"), cost=1.0)
        keep(call, factories.reply("second"), cost=2.0)
        assert intend(order, worker) == Intent(call_id=call, reply=first)
        assert row(call).cost == 1.0

    def test_a_rejected_reply_is_not_replaced_by_a_late_one(self, order, worker):
        call = intend(order, worker).call_id
        keep(call, factories.reply("no JSON"))
        reject(call)
        keep(call, factories.reply("second"))
        assert (row(call).status, row(call).reply["text"]) == ("unusable", "no JSON")


class TestReject:
    def test_a_rejected_reply_stays_with_its_reason_and_the_request_is_a_new_call(self, order, worker):
        bad = intend(order, worker).call_id
        keep(bad, factories.reply("no JSON"))
        reject(bad, "malformed")
        again = intend(order, worker)
        assert again == Intent(call_id=again.call_id)
        assert again.call_id != bad
        assert (row(bad).status, row(bad).error, row(bad).reply["text"]) == ("unusable", "malformed", "no JSON")
        assert (row(again.call_id).call_key, row(again.call_id).request_key) == ("k:1", "k")

    def test_every_rejected_reply_is_counted_in_the_next_key(self, order, worker):
        for _ in range(3):
            call = intend(order, worker).call_id
            keep(call, factories.reply("no JSON"))
            reject(call)
        keep(intend(order, worker).call_id, reply := factories.reply())
        assert intend(order, worker).reply == reply
        with transaction() as connection:
            keys = connection.scalars(select(_call.c.call_key).order_by(_call.c.id)).all()
        assert keys == ["k", "k:1", "k:2", "k:3"]

    def test_what_is_asked_again_is_in_flight_for_the_others(self, order, worker):
        bad = intend(order, worker).call_id
        keep(bad, factories.reply("no JSON"))
        reject(bad)
        again = intend(order, worker).call_id
        assert intend(order, register()) == Intent(call_id=again, elsewhere=True)

    def test_only_a_reply_can_be_rejected(self, order, worker):
        call = intend(order, worker).call_id
        reject(call)
        assert row(call).status == "intended"
