"""Members of parts of a user's own that have no effect are refused; helpers are not."""

import sys
import types

import pytest

from recbole_gro import Attacker, Defense, UserError
from recbole_gro.defense.base import defenses, register_defense
from recbole_gro.utils.overrides import check_overrides

ACTING = ("protect", "shown", "answer")
HEAD = "from recbole_gro import Attacker, Defense, Detector, ExtractionTrainer, QueryStrategy, SwapRule\n"
HEAD += "from recbole_gro.defense.tail import TailDefense\n"


@pytest.fixture
def part(tmp_path, monkeypatch):
    """A call that writes a module with a class `Part`, and returns the class."""

    def made(text, *, has_source=True):
        module = types.ModuleType("own_overrides")
        file = tmp_path / "own_overrides.py"
        file.write_text(HEAD + text)
        if has_source:
            module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "own_overrides", module)
        exec(compile(HEAD + text, str(file), "exec"), vars(module))
        return module.Part

    return made


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("class Part(Defense):\n    def show(self, ranked): ...", "show is no method of Defense; did you mean shown?"),
        (
            "class Part(Attacker):\n    def trainig_log(self, log): ...",
            "trainig_log is no method of Attacker; did you mean training_log?",
        ),
        (
            "class Part(Detector):\n    setings = ()",
            "setings is no attribute of Detector; did you mean settings?",
        ),
        (
            "class Part(QueryStrategy):\n    def next_item(self, *args): ...",
            "next_item is no method of QueryStrategy; did you mean next_items?",
        ),
        (
            "class Part(SwapRule):\n    def state_dit(self): ...",
            "state_dit is no method of SwapRule; did you mean state_dict?",
        ),
        (
            "class Base(Defense):\n    def protct(self, *args): ...\nclass Part(Base): ...",
            "protct is no method of Defense; did you mean protect?",
        ),
        (
            "class T(ExtractionTrainer):\n    def list_los(self, *args): ...\nclass Part(Attacker):\n    trainer = T",
            "list_los is no method of ExtractionTrainer; did you mean list_loss?",
        ),
    ],
)
@pytest.mark.parametrize("has_source", [True, False])
def test_a_misspelled_member_is_named_with_the_likely_one(part, text, line, has_source):
    with pytest.raises(UserError) as error:
        check_overrides("part own", part(text, has_source=has_source))
    assert str(error.value) == f"part own: {line}"


@pytest.mark.parametrize(
    "text",
    [
        "class Part(Defense):\n    def shown(self, ranked): return self.show(ranked)\n    def show(self, ranked): ...",
        "class Part(Defense):\n    def shown(self, ranked): ...\n    def _answer(self): ...",
        "class Part(Defense):\n    def shown(self, ranked): ...\n    def show(self): ...",  # not misspelled
        "class Part(Defense):\n    def answer(self, ranked, query): ...\n    width, query_items = 3, 4",
        "class Part(Defense):\n    def __init__(self, config): self.shown = lambda ranked: ranked.flip(1)",
        "class Part(Defense):\n    def protect(self, *args): return getattr(self, 'answers')\n    answers = 3",
        "class Part(Defense):\n    def protect(self, *args): ...\n    answers = 1\ndef use(part): return part.answers",
        "class Base(Defense):\n    def shown(self, ranked): ...\nclass Part(Base): ...",
        "class Part(TailDefense): ...",
    ],
)
@pytest.mark.parametrize("has_source", [True, False])
def test_a_helper_is_no_misspelled_member(part, text, has_source):
    check_overrides("part own", part(text, has_source=has_source), ACTING)


def test_a_defense_that_overrides_no_method_by_which_it_acts_does_nothing(part):
    made = part("class Part(Defense):\n    summary = 'nothing'\n    def list_of(self, ranked): ...")
    with pytest.raises(UserError, match=r"^part own: Part does nothing, since it overrides none of protect, "):
        check_overrides("part own", made, ACTING)
    check_overrides("part own", part("class Part(Attacker): ..."))


def test_parts_of_this_package_are_not_checked():
    check_overrides("defense", Defense, ACTING)
    check_overrides("attacker", Attacker)


def test_a_part_is_checked_when_it_is_looked_up(part, own_parts):
    register_defense("own_override")(part("class Part(Defense):\n    def show(self, ranked): ..."))
    with pytest.raises(UserError, match=r"^defense own_override: show is no method of Defense; did you mean shown\?$"):
        defenses["own_override"]
