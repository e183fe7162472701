"""What is asked, talked over, told; and danger. They serve all types that need no machine of their own."""

from __future__ import annotations

from schemas.machine import By, Machine, edges_from

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_PARTIES = (_S, _R)
_ANYONE = (_S, _R, _B)

INQUIRY = Machine(
    name="inquiry",
    initial="draft",
    terminal=frozenset({"answered", "refused", "withdrawn", "expired"}),
    edges={
        ("draft", "ask", _S): "asked",
        ("asked", "take_up", _R): "asked",
        ("asked", "set_conditions", _R): "conditions_set",
        ("conditions_set", "accept_conditions", _S): "conditions_accepted",
        ("conditions_set", "reject_conditions", _S): "refused",
        **edges_from(("asked", "conditions_accepted"), "answer", (_R,), "answered"),
        **edges_from(
            ("asked", "conditions_set", "conditions_accepted"), "refuse", (_R,), "refused"
        ),
        # A contribution of both sides, before the common result.
        **edges_from(("asked",), "contribute", _PARTIES, "asked"),
        ("asked", "answer", _S): "answered",
        **edges_from(
            ("asked", "conditions_set", "conditions_accepted"), "expire", (_B,), "expired"
        ),
        **edges_from(
            ("draft", "asked", "conditions_set", "conditions_accepted"),
            "withdraw",
            _ANYONE,
            "withdrawn",
        ),
    },
    paused=frozenset({"conditions_set"}),
)

DIALOGUE = Machine(
    name="dialogue",
    initial="draft",
    terminal=frozenset({"closed", "withdrawn"}),
    edges={
        ("draft", "begin", _S): "running",
        # What may begin a dialogue may also be the answer in one: that contact was lost, say.
        **edges_from(("running",), "begin", _PARTIES, "running"),
        **edges_from(("running",), "say", _PARTIES, "running"),
        **edges_from(("running",), "end", _PARTIES, "closed"),
        **edges_from(("draft", "running"), "withdraw", _ANYONE, "withdrawn"),
    },
)

NOTICE = Machine(
    name="notice",
    initial="draft",
    terminal=frozenset({"acknowledged", "withdrawn"}),
    edges={
        ("draft", "tell", _S): "told",
        ("told", "tell", _S): "told",
        ("told", "lift", _S): "told",
        ("told", "acknowledge", _R): "acknowledged",
        **edges_from(("draft", "told"), "withdraw", _ANYONE, "withdrawn"),
    },
)

SAFETY = Machine(
    name="safety",
    initial="draft",
    terminal=frozenset({"resolved", "withdrawn"}),
    edges={
        ("draft", "alert", _S): "raised",
        ("raised", "ack", _R): "taken_over",
        **edges_from(("raised", "taken_over"), "act", _PARTIES, "taken_over"),
        **edges_from(("raised", "taken_over"), "resolve", _PARTIES, "resolved"),
        # A person cannot withdraw from danger; this is an alert that proved to be an error.
        **edges_from(("draft", "raised"), "withdraw", (_S,), "withdrawn"),
    },
)
