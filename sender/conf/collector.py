"""core_collector: how /proc/vmcore is read, and what each kind of target makes of it.

Source: kdump-utils kdump.sh (v1.0.61): ``-F`` is forced where the stream goes
through a pipe and taken away where makedumpfile writes the file itself;
threads are never used with ``-F``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sender.conf.targets import BadValueError, Raw, Ssh, Target

DEFAULT = "makedumpfile -l --message-level 1 -d 31"

_TAKE_VALUE = frozenset("bdgix")  # makedumpfile.c 1.7.2, getopt_long: short options with a value
_NOT_A_DUMP = {
    "-R": "reads a stream from standard input",
    "-r": "reads a stream from standard input",
    "--reassemble": "joins split dumps",
    "--dump-dmesg": "writes only the log (it is saved anyway, before the core)",
    "--split": "writes several files",
    "-g": "writes a config file instead of a dump",
    "--mem-usage": "writes no dump",
    "-h": "prints help",
    "--help": "prints help",
    "-v": "prints its version",
    "--version": "prints its version",
}


@dataclass(frozen=True, slots=True)
class Collector:
    """The words of core_collector; ``words[0]`` is the program."""

    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """Its base name: makedumpfile, scp, cp or another."""
        return self.words[0].rsplit("/", 1)[-1]

    @property
    def flattened(self) -> bool:
        """Whether ``-F`` stands in it as the admin wrote it."""
        return any("F" in word for word in self.words[1:] if _is_cluster(word))


def parse_collector(value: str) -> Collector:
    """Read a core_collector line.

    Raises:
        BadValueError: no command, shell syntax, or a makedumpfile mode that writes no dump.
    """
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise BadValueError(f"the quotes of `{value}` do not close", "close them") from error
    if not words:
        raise BadValueError("core_collector names no command", f"write `core_collector {DEFAULT}`")
    for word in words:
        if any(char in word for char in "|&;<>()$`\\\"'*?\n"):
            raise BadValueError(
                f"'{word}' is shell syntax, and no shell reads core_collector",
                "put it into a script, add it with extra_bins and name the script",
            )
    collector = Collector(words)
    if collector.program == "makedumpfile":
        for word in words[1:]:
            reason = _NOT_A_DUMP.get(word.split("=")[0])
            if reason:
                raise BadValueError(f"`makedumpfile {word}` {reason}", f"write `core_collector {DEFAULT}`")
    return collector


def check_for(collector: Collector, target: Target) -> BadValueError | None:
    """Whether this collector can feed that target; the error says what to write."""
    piped = isinstance(target, (Ssh, Raw))
    if piped and collector.program == "cp":
        if isinstance(target, Ssh):
            return BadValueError("cp cannot reach an ssh target", "write `core_collector scp`")
        return BadValueError(
            "cp makes a file, and a raw partition holds none", f"write `core_collector {DEFAULT}`"
        )
    if isinstance(target, Ssh) and collector.program not in ("makedumpfile", "scp"):
        return BadValueError(
            f"'{collector.program}' cannot feed an ssh target",
            "write `core_collector scp` or one with makedumpfile",
        )
    if not isinstance(target, Ssh) and collector.program == "scp":
        return BadValueError("scp needs an ssh target", "write `core_collector cp --sparse=always`")
    if isinstance(target, Raw) and collector.program not in ("makedumpfile", "dd", "cat"):
        return BadValueError(
            f"'{collector.program}' cannot feed a raw partition", "write one with makedumpfile"
        )
    return None


def swapped(collector: Collector, target: Target) -> Collector | None:
    """The plain copy for a fallback of another kind, where the first target has ``scp`` or ``cp``."""
    match collector.program, target:
        case "cp", Ssh():
            return Collector(("scp",))
        case "scp", Raw():
            return Collector(("cat",))
        case "scp", _:
            return Collector(("cp", "--sparse=always"))
    return None


def command_for(collector: Collector, target: Target) -> tuple[str, ...]:
    """The words as they run for a target: ``-F`` and threads put right, cp and scp swapped."""
    if check_for(collector, target):
        collector = swapped(collector, target) or collector
    if collector.program != "makedumpfile":
        return collector.words
    piped = isinstance(target, (Ssh, Raw))
    kept: list[str] = []
    skip = False
    for word in collector.words[1:]:
        if skip:
            skip = False
        elif word == "--num-threads" and piped:
            skip = True
        elif word.startswith("--num-threads=") and piped:
            continue
        elif _is_cluster(word):
            rest = word.replace("F", "")
            if rest != "-":
                kept.append(rest)
        else:
            kept.append(word)
    return (collector.words[0], *(("-F",) if piped else ()), *kept)


def _is_cluster(word: str) -> bool:
    """Whether a word is short options without values, such as ``-cF``; ``-d31`` and file names are not."""
    return (
        len(word) > 1
        and word[0] == "-"
        and word[1] != "-"
        and word[1] not in _TAKE_VALUE
        and word[1:].isalpha()
    )
