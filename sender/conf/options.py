"""Every word kdump.conf may begin a line with: one frozen row each.

The rows are the product's documentation, too: `kdump show --words`, the sample
kdump.conf and the tests read this table. Meanings by release: kdump.conf(5) of
kdump-utils v1.0.61, RHEL 7 (2.0.15) and RHEL 6 (2.0.0-310).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sender.conf.collector import parse_collector
from sender.conf.targets import FS_TYPES, BadValueError, parse_fallback, parse_path, parse_target

FAILURE_ACTIONS = ("reboot", "halt", "poweroff", "shell", "dump_to_rootfs", "mount_root_run_init")
FINAL_ACTIONS = ("reboot", "halt", "poweroff")
_MODULE = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.\-]+(=.*)?")
_NODE = re.compile(r"(?=.{1,253}$)[A-Za-z0-9:][A-Za-z0-9\-_.:%]*")
_FENCE_WITH_VALUE = {"-p": 65535, "-c": 2**31 - 1, "-i": 2**31 - 1}


class Repeat(Enum):
    """What a second line with the same word means."""

    ERROR = "Duplicated"
    APPEND = "adds"


@dataclass(frozen=True, slots=True)
class Option:
    """One word: ``parse`` raises BadValueError; ``used`` says where it takes effect."""

    name: str
    parse: Callable[[str], object]
    takes: str
    used: str  # start, build, capture: the first place that acts on it
    says: str
    since: str
    repeat: Repeat = Repeat.ERROR
    deprecated: str = ""


def whole(low: int, high: int) -> Callable[[str], int]:
    """A number between two bounds, both allowed."""

    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise BadValueError(
                f"'{value}' is not between {low} and {high}", f"write a whole number, {low} to {high}"
            )
        return int(value)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """One word of a list."""

    def parse(value: str) -> str:
        if value not in words:
            raise BadValueError(f"'{value}' is not known here", f"write one of {', '.join(words)}")
        return value

    return parse


def program(value: str) -> str:
    """One absolute path of a program, no arguments."""
    if len(value.split()) != 1:
        raise BadValueError(
            f"'{value}' is not one path", "name one executable; arguments belong into a script"
        )
    return parse_path(value)


def programs(value: str) -> tuple[str, ...]:
    """Paths, or names to be found on PATH."""
    words = tuple(value.split())
    for word in words:
        if word.startswith("/"):
            parse_path(word)
        elif not re.fullmatch(r"[A-Za-z0-9_.+\-]+", word):
            raise BadValueError(f"'{word}' is no program", "write its absolute path")
    return _some(words, "a program")


def modules(value: str) -> tuple[str, ...]:
    """Kernel module names without ``.ko``."""
    words = tuple(value.split())
    for word in words:
        if "/" in word:
            raise BadValueError(
                f'Do not support the directory "{word}" for blacklist',
                "write module names without path and .ko",
            )
        _module(word)
    return _some(words, "a module")


def module_options(value: str) -> tuple[str, ...]:
    """``(module, "a=1", "b=2", …)``."""
    name, *rest = value.split() or [""]
    _module(name)
    for word in rest:
        if not _PARAMETER.fullmatch(word):
            raise BadValueError(f"'{word}' is no module parameter", f"write `options {name} parameter=value`")
    if not rest:
        raise BadValueError(f"no parameter for the module {name}", f"write `options {name} parameter=value`")
    return (name, *rest)


def fence_args(value: str) -> tuple[str, ...]:
    """fence_kdump_send's own options, checked as it checks them; nodes have their own line."""
    words = value.split()
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if before in _FENCE_WITH_VALUE:
            low = 0 if before == "-c" else 1
            whole(low, _FENCE_WITH_VALUE[before])(word)
        elif before == "-f":
            one_of("auto", "ipv4", "ipv6")(word)
        elif not re.fullmatch(r"-[pcif]|-v+|-v=?\d+", word):
            raise BadValueError(
                f"fence_kdump_send has no option '{word}'",
                "write of -p PORT -f auto|ipv4|ipv6 -c COUNT -i SECONDS -v",
            )
    if words and words[-1] in (*_FENCE_WITH_VALUE, "-f"):
        raise BadValueError(f"{words[-1]} has no value", "write it after the option")
    return tuple(words)


def nodes(value: str) -> tuple[str, ...]:
    """Names or addresses of cluster nodes."""
    words = tuple(value.replace(",", " ").split())
    for word in words:
        if not _NODE.fullmatch(word):
            raise BadValueError(f"'{word}' is no node", "write names or addresses with blanks between")
        if word in ("localhost", "127.0.0.1", "::1"):
            raise BadValueError(
                f"Option fence_kdump_nodes cannot contain {word}", "write the other nodes only"
            )
    return _some(words, "a node")


def arguments(value: str) -> tuple[str, ...]:
    """Words as a shell would split them, nothing expanded."""
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise BadValueError(f"the quotes of `{value}` do not close", "close them") from error


def dracut_args(value: str) -> tuple[str, ...]:
    """As `arguments`; one ``--mount`` at most."""
    words = arguments(value)
    if sum(word == "--mount" or word.startswith("--mount=") for word in words) > 1:
        raise BadValueError('Multiple mount targets specified in one "dracut_args".', "keep one --mount")
    return words


def version(value: str) -> str:
    """A kernel release as ``uname -r`` prints it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~\-]*", value):
        raise BadValueError(f"'{value}' is no kernel version", "write it as `uname -r` prints it")
    return value


def kexec_args(value: str) -> tuple[str, ...]:
    """Options of kexec, but none of those that `kdump start` gives itself."""
    words = arguments(value)
    for word in words:
        if word.split("=")[0] in (
            "-l",
            "-e",
            "-u",
            "--load",
            "--exec",
            "--unload",
            "--initrd",
            "--command-line",
        ):
            raise BadValueError(f"kexec_args cannot hold {word}", "leave what is loaded to `kdump start`")
        if not word.startswith("-"):
            raise BadValueError(f"'{word}' is no option of kexec", "write options such as -s, -c, -d")
    return words


def nothing(value: str) -> str:
    """A word whose value no longer says anything."""
    return value


def path(value: str) -> str:
    """The directory under which dumps are kept."""
    if len(value.split()) != 1:
        raise BadValueError(
            "path names no directory" if not value else f"'{value}' holds blanks", "write one path"
        )
    return parse_path(value)


def _target(kind: str) -> Callable[[str], object]:
    return lambda value: parse_target(kind, value)


def _module(word: str) -> None:
    if word.endswith(".ko"):
        raise BadValueError(f"'{word}' is a file name", f"write {word[:-3]}")
    if not _MODULE.fullmatch(word):
        raise BadValueError(f"'{word}' is no module name", "write it as lsmod prints it")


def _some(words: tuple[str, ...], what: str) -> tuple[str, ...]:
    if not words:
        raise BadValueError(f"names nothing where {what} is wanted", f"name {what}, or remove the line")
    return words


OURS = "kdump-net"
_NET_SAYS = "an old word for ssh (with a @) or nfs"
_YES_NO = one_of("yes", "no")

OPTIONS: tuple[Option, ...] = (
    Option("path", path, "DIRECTORY", "capture", "where dumps are kept on the target", "EL5"),
    Option("core_collector", parse_collector, "COMMAND", "capture", "what reads /proc/vmcore", "EL5"),
    Option("raw", _target("raw"), "DEVICE", "capture", "write into this partition", "EL5"),
    Option("nfs", _target("nfs"), "HOST:/EXPORT", "capture", "mount this export and write there", "EL6"),
    Option("nfs4", _target("nfs4"), "HOST:/EXPORT", "capture", "the same by NFS version 4", "EL6"),
    Option(
        "net", _target("net"), "PLACE", "capture", _NET_SAYS, "EL5", deprecated="write ssh or nfs instead"
    ),
    Option("ssh", _target("ssh"), "USER@HOST[:PORT]", "capture", "send the dump over ssh", "EL6"),
    *(
        Option(
            kind, _target(kind), "DEVICE", "capture", f"mount this {kind} file system and write there", since
        )
        for kind, since in zip(FS_TYPES, ("EL5", "EL5", "EL6", "EL6", "EL6", "EL7", "KU"), strict=True)
    ),
    Option(
        "fallback",
        parse_fallback,
        "KIND PLACE [PATH]",
        "capture",
        "next place to try",
        "kdump-net",
        Repeat.APPEND,
    ),
    Option("disk_timeout", whole(0, 86400), "SECONDS", "capture", "how long to wait for a disk (180)", "EL6"),
    Option(
        "link_delay", whole(0, 3600), "SECONDS", "capture", "how long to wait after the link is up (0)", "EL5"
    ),
    Option("kdump_post", program, "PROGRAM", "capture", "run after the dump with its status", "EL5"),
    Option("kdump_pre", program, "PROGRAM", "capture", "run before; not 0 means: no dump", "EL5"),
    Option("kdump_emergency", program, "PROGRAM", "capture", "run when no target took the dump", "KU"),
    Option(
        "extra_bins", programs, "PROGRAM…", "build", "programs to put into the image", "EL5", Repeat.APPEND
    ),
    Option("extra_modules", modules, "MODULE…", "build", "modules to put in and load", "EL5", Repeat.APPEND),
    Option("options", module_options, "MODULE PARAMETER…", "capture", "parameters", "EL5", Repeat.APPEND),
    Option("blacklist", modules, "MODULE…", "capture", "modules never loaded", "EL6", Repeat.APPEND),
    Option("sshkey", program, "FILE", "build", "the private key of ssh targets", "EL6"),
    Option(
        "default", one_of(*FAILURE_ACTIONS), "ACTION", "capture", "what to do when no dump was saved", "EL5"
    ),
    Option(
        "failure_action", one_of(*FAILURE_ACTIONS), "ACTION", "capture", "the newer word for default", "KU"
    ),
    Option(
        "final_action", one_of(*FINAL_ACTIONS), "ACTION", "capture", "what to do after a saved dump", "KU"
    ),
    Option("debug_mem_level", whole(0, 3), "0-3", "capture", "print memory use on the console", "EL6"),
    Option("force_rebuild", whole(0, 1), "0|1", "build", "build the image at every start", "EL6"),
    Option("force_no_rebuild", whole(0, 1), "0|1", "build", "never build the image at start", "EL7"),
    Option("fence_kdump_args", fence_args, "ARGUMENTS", "capture", "options of fence_kdump_send", "EL6"),
    Option(
        "fence_kdump_nodes",
        nodes,
        "NODE…",
        "capture",
        "who is told that we are dumping",
        "EL6",
        Repeat.APPEND,
    ),
    Option(
        "dracut_args", dracut_args, "ARGUMENTS", "build", "further arguments of dracut", "EL7", Repeat.APPEND
    ),
    Option("auto_reset_crashkernel", _YES_NO, "yes|no", "start", "for package scripts", "KU"),
    Option(
        "override_resettable",
        whole(0, 1),
        "0|1",
        "start",
        "once allowed storage that cannot be reset",
        "EL6",
        deprecated="it has had no effect since 2023: remove the line",
    ),
    Option("Kdump_not_supported_on_Xen_domU_guest", nothing, "", "start", "a note of an installer", "EL6"),
    Option("kernel_version", version, "VERSION", "start", "capture kernel, where not the running one", OURS),
    Option("nr_cpus", whole(1, 8192), "NUMBER", "start", "processors of the capture kernel (1)", OURS),
    Option("kexec_args", kexec_args, "ARGUMENTS", "start", "options of kexec, such as -s or -c", OURS),
    Option(
        "cmdline_remove",
        arguments,
        "WORD…",
        "start",
        "taken off the kernel command line",
        OURS,
        Repeat.APPEND,
    ),
    Option(
        "cmdline_append", arguments, "WORD…", "start", "put onto the kernel command line", OURS, Repeat.APPEND
    ),
    Option(
        "ssh_compress",
        one_of("none", "auto", "zstd", "gzip", "lz4", "xz"),
        "WORD",
        "capture",
        "in transit",
        OURS,
    ),
    Option("net_timeout", whole(5, 3600), "SECONDS", "capture", "wait for network and server (60)", OURS),
    Option("stall_timeout", whole(5, 86400), "SECONDS", "capture", "give up when no byte moves (120)", OURS),
    Option("capture_timeout", whole(0, 604800), "SECONDS", "capture", "reboot after this, 0: never", OURS),
)
BY_NAME = {option.name: option for option in OPTIONS}
