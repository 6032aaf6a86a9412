"""Change one word of a kdump.conf and leave every comment where it is."""

from __future__ import annotations

from sender.conf.grammar import Line, read_lines
from sender.conf.options import BY_NAME, Repeat
from sender.conf.targets import KINDS

_SAME = {"default": ("default", "failure_action"), "failure_action": ("default", "failure_action")}


def set_word(text: str, name: str, value: str, add: bool = False) -> str:
    """``text`` with ``name value`` said once: in place of the line that said it, else under its
    commented example, else at the end. ``add`` keeps earlier lines of a word that may repeat.

    A target takes the place of the target that was there, whatever its kind.
    """
    lines = list(read_lines(text, "")[0])
    new = f"{name} {value}".rstrip()
    option = BY_NAME.get(name)
    keep = add and option is not None and option.repeat is Repeat.APPEND
    places = [i for i, line in enumerate(lines) if line.name in _rivals(name)]
    out = [line.text for line in lines]
    if places and keep:
        out.insert(places[-1] + 1, new)
    elif places:
        comment = _trailing_comment(lines[places[0]])
        out[places[0]] = f"{new} {comment}".rstrip()
        for place in reversed(places[1:]):
            del out[place]
    else:
        examples = [i for i, line in enumerate(lines) if line.text.lstrip("# \t").split(" ")[0] == name]
        out.insert(examples[-1] + 1 if examples else len(out), new)
    return "\n".join(out) + "\n"


def unset_word(text: str, name: str) -> str:
    """``text`` with every line that says ``name`` turned into a comment."""
    lines = read_lines(text, "")[0]
    return "".join(f"#{line.text}\n" if line.name == name else f"{line.text}\n" for line in lines)


def _rivals(name: str) -> tuple[str, ...]:
    """The words a new ``name`` takes the place of."""
    return KINDS if name in KINDS else _SAME.get(name, (name,))


def _trailing_comment(line: Line) -> str:
    """The ``# …`` behind a value, where it is one."""
    place = line.text.find(" #")
    return line.text[place + 1 :] if place >= 0 and '"' not in line.text else ""
