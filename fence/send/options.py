"""What the sender may be told: the C sender's flags, and those of the extension.

Source of the former: fence-agents 4.12.1, agents/kdump/{fence_kdump_send.c,options.h}.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fence.message import KEY_SIZES, Phase, Progress
from fence.pair import flags
from fence.pair.flags import BadValue, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = (
    Flag("ipport", "p", "required"),
    Flag("family", "f", "required"),
    Flag("count", "c", "required"),
    Flag("interval", "i", "required"),
    Flag("verbose", "v", "optional"),
    Flag("version", "V", "no"),
    Flag("help", "h", "no"),
    Flag("phase", "", "required", ours=True),
    Flag("progress", "", "required", ours=True),
    Flag("node", "", "required", ours=True),
    Flag("key", "", "required", ours=True),
    Flag("test", "", "no", ours=True),
)
USAGE = """\
Usage: {program} [options] [nodes]

Options:

  -p, --ipport=PORT            Port number (default: 7410)
  -f, --family=FAMILY          Network family: [auto], ipv4, ipv6
  -c, --count=COUNT            Number of beats to send; 0 sends until killed (default: 0)
  -i, --interval=INTERVAL      Seconds from beat to beat (default: 10)
      --phase=PHASE            What the dump is at: started, dumping, saved, failed
      --progress=DONE[/TOTAL]  Bytes that are saved, and bytes in all
      --node=NAME              Who we are, as kdump-fence knows us (default: the host name)
      --key=FILE               Sign with the first key in FILE, hexadecimal digits
      --test                   A drill: kdump-fence checks and shows it, nobody takes it for a crash
  -v, --verbose                Print verbose output
  -V, --version                Print version
  -h, --help                   Print usage

"""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send to whom. ``key`` is None where nothing is signed; ``stop`` is ``usage`` or ``version``."""

    nodes: tuple[str, ...] = ()
    ipport: int = 7410
    family: int = 0
    count: int | None = None
    interval: int = 10
    verbose: int = 0
    complaints: tuple[str, ...] = ()
    phase: Phase | None = None
    progress: Progress | None = None
    node: str | None = None
    key: bytes | None = None
    test: bool = False
    stop: str = ""

    @property
    def extended(self) -> bool:
        """Whether more is to be said than the C sender says."""
        return bool(self.phase or self.progress or self.node or self.key or self.test)

    @property
    def beats(self) -> int:
        """How many beats to send, 0 for ever; a drill is one unless said otherwise."""
        return self.count if self.count is not None else int(self.test)


def from_words(program: str, words: Sequence[str]) -> Order:
    """Read the command line; ``-h`` and ``-V`` end the reading, as in C.

    Raises:
        flags.BadFlag: no such flag, or its argument is missing.
        BadValue: a value is out of range.
    """
    order = Order()
    for word in flags.walk(program, words, FLAGS):
        if isinstance(word, flags.Operand):
            order = replace(order, nodes=(*order.nodes, word.value))
        elif word.name in ("help", "version"):
            return replace(order, stop=word.name)
        else:
            order = _with(order, word.name, word.value)
    return order


def _with(order: Order, name: str, value: str | None) -> Order:
    text = value or ""
    match name:
        case "ipport":
            return replace(order, ipport=flags.ipport(text))
        case "family":
            return replace(order, family=flags.family(text))
        case "count":
            return replace(order, count=flags.at_least(0, name, text))
        case "interval":
            return replace(order, interval=flags.at_least(1, name, text))
        case "phase":
            return replace(order, phase=phase(text))
        case "progress":
            return replace(order, progress=progress(text))
        case "node":
            return replace(order, node=text)
        case "key":
            return replace(order, key=read_key(Path(text)))
        case "test":
            return replace(order, test=True)
    level, wrong = flags.verbosity(order.verbose, value)
    return replace(order, verbose=level, complaints=order.complaints + ((wrong,) if wrong else ()))


def phase(text: str) -> Phase:
    """A phase by its name.

    Raises:
        BadValue: there is none of that name.
    """
    try:
        return Phase[text.upper()]
    except KeyError:
        raise BadValue(f"invalid phase '{text}': started, dumping, saved or failed") from None


def progress(text: str) -> Progress:
    """``DONE`` or ``DONE/TOTAL``, bytes.

    Raises:
        BadValue: they are no such numbers.
    """
    done, _, total = text.partition("/")
    numbers = [part for part in (done, total or "0") if part.isascii() and part.isdigit() and len(part) < 20]
    if len(numbers) != 2 or max(map(int, numbers)) >= 1 << 64:
        raise BadValue(f"invalid progress '{text}': bytes done, or bytes done/bytes in all")
    return Progress(int(done), int(numbers[1]))


def read_key(path: Path) -> bytes:
    """The first key of a file: hexadecimal digits, comments behind ``#`` (docs/fence-protocol.md).

    Raises:
        BadValue: there is none.
    """
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise BadValue(f"invalid key '{path}': {getattr(error, 'strerror', None) or error}") from error
    words = [word for line in lines if (word := line.partition("#")[0].strip())]
    try:
        key = bytes.fromhex(words[0])
    except (IndexError, ValueError):
        key = b""
    if len(key) not in KEY_SIZES:
        raise BadValue(f"invalid key '{path}': its first key has not 16 to 64 bytes in hex")
    return key
