"""What the agent may be told, as one table: flags, stdin keys, usage and metadata come from it.

Sources: fence-agents 4.12.1 agents/kdump/{fence_kdump.c,options.h} for the rows that are not ours,
doc/FenceAgentAPI.md and lib/fencing.py.py for plug, port, delay, quotes and booleans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fence.pair import flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GRADES = ("udp", "udp-checked", "signed", "ssh", "saved")  # docs/fence-api.md
OK, FAILED, IS_OFF = 0, 1, 2  # exit status, FenceAgentAPI.md; nothing is told apart in a failure
ACTIONS = ("off", "monitor", "metadata", "validate-all", "list", "list-status", "status")
ACTION_ALIASES = {"meta-data": "metadata"}


class Option(NamedTuple):
    """One row. ``kind`` is the metadata's content type; a flag without ``metavar`` takes no value."""

    key: str
    flag: str
    text: str
    letter: str = ""
    metavar: str = ""
    kind: str = "string"
    default: str = ""
    choices: tuple[str, ...] = ()
    obsoletes: str = ""
    deprecated: bool = False
    ours: bool = False


OPTIONS = (
    Option(
        "nodename",
        "nodename",
        "Names or addresses of the node to be fenced, separated by commas. All of them mean one node: "
        "one valid message from any of its addresses is enough. Needed where there is no plug.",
        letter="n",
        metavar="NODE[,NODE...]",
    ),
    Option(
        "plug",
        "plug",
        "The node to be fenced, as the daemon or the resolver knows it; goes before nodename. The cluster "
        "passes it, mapped by pcmk_host_map.",
        metavar="NODE[,NODE...]",
        obsoletes="port",
        ours=True,
    ),
    Option("port", "port", "The same as plug.", metavar="NODE[,NODE...]", deprecated=True, ours=True),
    Option(
        "ipport",
        "ipport",
        "UDP port to listen on where no daemon is asked.",
        letter="p",
        metavar="PORT",
        kind="integer",
        default="7410",
    ),
    Option(
        "family",
        "family",
        "Which addresses of the node count where no daemon is asked.",
        letter="f",
        metavar="FAMILY",
        kind="select",
        default="auto",
        choices=("auto", "ipv4", "ipv6"),
    ),
    Option("action", "action", "Fencing action.", letter="o", metavar="ACTION", default="off"),
    Option(
        "timeout",
        "timeout",
        "Seconds to wait for the node's message; none within them is a failure.",
        letter="t",
        metavar="TIMEOUT",
        kind="second",
        default="60",
    ),
    Option(
        "delay",
        "delay",
        "Seconds to wait before the off action begins.",
        metavar="SECONDS",
        kind="second",
        default="0",
        ours=True,
    ),
    Option(
        "socket",
        "socket",
        "Unix sockets of kdump-fence daemons to ask, separated by commas; --socket may be repeated. "
        "All daemons are asked at once, and one fresh yes is enough.",
        metavar="PATH[,PATH...]",
        ours=True,
    ),
    Option(
        "url",
        "url",
        "Addresses of kdump-fence daemons on other hosts, https://HOST:PORT, separated by commas; "
        "--url may be repeated.",
        metavar="URL[,URL...]",
        ours=True,
    ),
    Option(
        "grade",
        "grade",
        "Ask for better evidence than the daemon's policy does, as a signed message or the upload by ssh.",
        metavar="GRADE",
        kind="select",
        choices=GRADES,
        ours=True,
    ),
    Option(
        "token_file",
        "token-file",
        "File with the bearer token for the daemons behind url.",
        metavar="FILE",
        ours=True,
    ),
    Option(
        "ca_file",
        "ca-file",
        "PEM file with the certificates that vouch for the daemons behind url; without it the system's.",
        metavar="FILE",
        ours=True,
    ),
    Option("verbose", "verbose", "Print verbose output; -vv prints more.", letter="v", kind="boolean"),
    Option("version", "version", "Print version.", letter="V", kind="boolean"),
    Option("usage", "help", "Print usage.", letter="h", kind="boolean"),
)
BY_FLAG = {option.flag: option for option in OPTIONS}
FLAGS = tuple(
    flags.Flag(
        option.flag,
        option.letter,
        "optional" if option.key == "verbose" else "required" if option.metavar else "no",
        option.ours,
    )
    for option in OPTIONS
)


class Request(NamedTuple):
    """What the cluster, or a human, asks of us."""

    action: str = "off"
    nodename: str = ""
    plug: str = ""
    port: str = ""
    ipport: int = 7410
    family: int = 0
    timeout: int = 60
    delay: int = 0
    socket: tuple[str, ...] = ()
    url: tuple[str, ...] = ()
    grade: str = ""
    token_file: str = ""
    ca_file: str = ""
    verbose: int = 0
    complaints: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """What to call the node, the best first; each perhaps several names with commas.

        Plug goes before port before nodename (FenceAgentAPI.md). Pacemaker gives nodename in any case; it is
        of use where the name that was mapped for this device is not known.
        """
        mapped = self.plug or self.port or self.nodename
        return tuple(dict.fromkeys(text for text in (mapped, self.nodename) if names(text)))


def names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list; blanks and empty places mean nothing."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _with(request: Request, key: str, value: str | None, *, more: bool) -> Request:
    """``request`` with one option set; ``more`` adds to a list (a repeated flag), else the last value wins.

    Raises:
        flags.BadValue: the value is out of range.
    """
    text = value or ""
    match key:
        case "action":
            action = ACTION_ALIASES.get(text.lower(), text.lower())
            if action not in ACTIONS:
                raise flags.BadValue(f"unsupported action '{text}'")
            return request._replace(action=action)
        case "ipport":
            return request._replace(ipport=flags.ipport(text))
        case "family":
            return request._replace(family=flags.family(text))
        case "timeout":
            return request._replace(timeout=flags.at_least(1, key, text))
        case "delay":
            return request._replace(delay=flags.at_least(0, key, text))
        case "verbose":
            level, wrong = flags.verbosity(request.verbose, value)
            return request._replace(
                verbose=level, complaints=request.complaints + ((wrong,) if wrong else ())
            )
        case "socket":
            return request._replace(socket=(request.socket if more else ()) + names(text))
        case "url":
            return request._replace(url=(request.url if more else ()) + names(text))
        case "grade":
            if text.lower() not in ("", *GRADES):
                raise flags.BadValue(f"invalid grade '{text}'")
            return request._replace(grade=text.lower())
        case "nodename" | "plug" | "port" | "token_file" | "ca_file":
            changed: dict[str, Any] = {key: text}
            return request._replace(**changed)
    return request  # an unknown key has to be ignored (FenceAgentAPI.md)


def from_words(program: str, words: Sequence[str]) -> Request:
    """Read the command line; ``-h`` and ``-V`` end the reading, as in C, and become actions.

    Raises:
        flags.BadFlag: no such flag, or its argument is missing.
        flags.BadValue: a value is out of range.
    """
    request = Request()
    for word in flags.walk(program, words, FLAGS):
        if isinstance(word, flags.Operand):
            continue
        key = BY_FLAG[word.name].key
        if key in ("usage", "version"):
            return request._replace(action=key)
        request = _with(request, key, word.value, more=True)
    return request


def from_lines(lines: Iterable[str]) -> Request:
    """Read ``key=value`` lines as the cluster writes them.

    Keys are told apart neither by case nor by ``-`` and ``_``; one pair of quotes around a value is
    taken off; the last of several lines with one key wins.

    Raises:
        flags.BadValue: a value is out of range.
    """
    request = Request()
    for line in lines:
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        request = _with(request, key.strip().lower().replace("-", "_"), _unquoted(value.strip()), more=False)
    return request


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def usage(program: str) -> str:
    """The text of ``--help``."""
    lines = [f"Usage: {program} [options]", "", "Options:", ""]
    for option in OPTIONS:
        lead = f"-{option.letter}, " if option.letter else "    "
        flag = f"  {lead}--{option.flag}{'=' + option.metavar if option.metavar else ''}"
        first = option.text.split(";")[0].split(". ")[0].rstrip(".")
        if option.key == "action":
            first += ": " + ", ".join(f"[{name}]" if name == option.default else name for name in ACTIONS)
        elif option.choices:
            first += ": " + ", ".join(
                f"[{name}]" if name == option.default else name for name in option.choices
            )
        elif option.default:
            first += f" (default: {option.default})"
        lines.append(f"{flag:<32} {first}")
    return "\n".join(lines) + "\n\n"
