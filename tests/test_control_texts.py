"""What is said in a chat is text, also if it looks like a control token."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sklearn_logprob.backends._control_texts import MARK, ControlTexts

TEXTS = ["<s>", "</s>", "<|a|>", "<|a|><|b|>", "ab", "bc", "[INST]", "s"]
said = st.text(alphabet="<|s>/abc[INST] ")


@given(said)
def test_nothing_that_is_said_is_a_control_token(text):
    """Also where such texts overlap, touch or lie within each other."""
    control = ControlTexts(TEXTS)
    assert [flag for _, flag in control.pieces(control.mark(text))] == [False] * bool(
        text
    )
    assert "".join(piece for piece, _ in control.pieces(control.mark(text))) == text


@given(st.lists(said, max_size=4))
def test_the_templates_own_are_found(messages):
    """As many as it wrote, whatever is said between them."""
    control = ControlTexts(["<s>", "</s>"])
    prompt = "".join(f"<s>{control.mark(said)}</s>" for said in messages)
    pieces = list(control.pieces(prompt))
    assert [piece for piece, flag in pieces if flag] == ["<s>", "</s>"] * len(messages)
    assert [p for p, flag in pieces if not flag] == [m for m in messages if m]


def test_ordinary_texts_are_left_as_they_are():
    """No mark, so that they take the quick way; a forged mark does not count as one."""
    control = ControlTexts(["<s>", ""])
    assert control.mark("a < b > c") == "a < b > c"
    assert control.mark(f"<{MARK}s>") == "<\ufffds>"
    assert ControlTexts([]).mark("<s>") == "<s>"
