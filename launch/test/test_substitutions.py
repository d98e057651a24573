"""Substitutions have the values that ROS 2 launch gives them; everything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from vjepa_bringup.substitutions import Context, SubstitutionError, expand, expand_words

CONTEXT = Context(
    {"mode": "lockstep", "n": "3", "text": "a b", "name": "mode"}, {"X": "1"}, Path("/d")
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$(var mode)", "lockstep"),
        ("a_$(var mode)_b", "a_lockstep_b"),
        ("$(var $(var name))", "lockstep"),
        ("$(env X)", "1"),
        ("$(env Y fallback)", "fallback"),
        ("$(env Y '')", ""),
        ("$(env Y $(var mode)/x)", "lockstep/x"),
        ("$(env Y 'two words')", "two words"),
        ("$(dirname)/config", "/d/config"),
        (r"\$(var mode)", "$(var mode)"),
        ("10 $ (a)", "10 $ (a)"),
        ("""$(eval "'$(var mode)' == 'lockstep'")""", "True"),
        (r"""$(eval '\'$(var mode)\' == "realtime"')""", "False"),
        ("$(eval '$(var n) > 2 and not $(var n) >= 4')", "True"),
        ("""$(eval "'$(var mode)' in ['realtime', 'other']")""", "False"),
        ("""$(eval "1 < 2 < 2")""", "False"),
    ],
)
def test_value(text: str, value: str) -> None:
    assert expand(text, CONTEXT) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("$(var speed)", "no argument or variable.*mode, n"),
        ("$(var)", "takes 1"),
        ("$(var mode", "closing bracket"),
        ("$(var 'mode)", "closing '"),
        ("$(env Y)", "not set"),
        ("$(command 'ls')", r"\$\(command 'ls'\) is not supported"),
        ("$(eval 1 == 1)", "in quotes"),
        ("""$(eval "__import__('os').system('true')")""", "not a comparison"),
        ("""$(eval "().__class__ == 1")""", "not a comparison"),
        ("""$(eval "2 ** 9 == 512")""", "not a comparison"),
        ("""$(eval "1 <")""", "cannot evaluate"),
        ("""$(eval "1 < 'a'")""", "cannot evaluate"),
        ("""$(eval "3")""", "neither True nor False"),
        ("$(find-pkg-share no_such_package)", "no_such_package.*AMENT_PREFIX_PATH"),
    ],
)
def test_refused(text: str, what: str) -> None:
    with pytest.raises(SubstitutionError, match=what):
        expand(text, CONTEXT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a  b", ["a", "b"]),
        ("'a b' c", ["a b", "c"]),
        ("--x $(var text) y", ["--x", "a b", "y"]),
        ("--x=$(var text)/y z", ["--x=a b/y", "z"]),
        ("$(var mode)$(var n)", ["lockstep3"]),
    ],
)
def test_the_value_of_a_substitution_is_never_split(text: str, words: list[str]) -> None:
    assert expand_words(text, CONTEXT) == words


def test_share_folder_of_a_package(package: Path) -> None:
    assert expand("$(find-pkg-share things)/x", CONTEXT) == f"{package}/x"
