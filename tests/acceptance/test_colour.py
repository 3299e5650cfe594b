"""Color is decided for each stream: terminals get it, unless the user turns it off."""

from __future__ import annotations

import re

import pytest
from support.command import invoke, see

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[1;3[0-7]m")


@pytest.mark.parametrize(
    ("words", "env", "coloured"),
    [
        (["status", "9"], {}, True),
        (["status", "9", "--no-color"], {}, False),
        (["--no-color", "status", "9"], {}, False),
        (["status", "9"], {"NO_COLOR": "1"}, False),
        (["status", "9"], {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (["status", "9"], {"NO_COLOR": ""}, True),
        (["status", "9"], {"TERM": "dumb"}, False),
        (["status", "9", "--no-color"], {"FORCE_COLOR": "1"}, False),
        (["doctor"], {}, True),
        (["doctor", "--no-color"], {}, False),
    ],
)
def test_a_terminal_is_coloured_unless_the_user_objects(
    words: list[str], env: dict[str, str], *, coloured: bool
) -> None:
    """--no-color, NO_COLOR and TERM=dumb turn color off; an empty variable counts as unset."""
    given = {"NO_COLOR": None, "FORCE_COLOR": None, "TERM": "xterm", **env}
    assert bool(COLOUR.search(see(*words, env=given).out)) == coloured


@pytest.mark.parametrize(
    ("words", "env", "coloured"),
    [
        (["status", "9"], {}, False),
        (["status", "9"], {"FORCE_COLOR": "1"}, True),
        (["status", "9"], {"FORCE_COLOR": ""}, False),
        (["status", "9", "--no-color"], {"FORCE_COLOR": "1"}, False),
        (["status", "9"], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_a_pipe_is_plain_unless_the_user_asks(words: list[str], env: dict[str, str], *, coloured: bool) -> None:
    """A pipe gets color only with FORCE_COLOR."""
    result = invoke(*words, env={"NO_COLOR": None, "FORCE_COLOR": None, "TERM": "xterm", **env})
    assert bool(COLOUR.search(result.err)) == coloured


def test_no_color_after_two_dashes_is_not_an_option() -> None:
    """After `--`, `--no-color` is the name of a job."""
    assert "--no-color" in invoke("status", "--", "--no-color").failed(6, "--no-color").err


@pytest.mark.parametrize("words", [["status", "9"], ["doctor"], ["config", "path"], ["providers"], ["run", "-h"]])
def test_colours_can_be_read_on_a_light_background(words: list[str]) -> None:
    """No text is dim, white, yellow or in a bright color."""
    shown = see(*words, env={"NO_COLOR": None, "TERM": "xterm"}).out
    codes = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", shown) for code in codes.split(";")}
    assert codes
    assert not codes & {"2", "33", "37", "90", "91", "92", "93", "94", "95", "96", "97"}
