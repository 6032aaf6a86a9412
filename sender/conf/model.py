"""What a kdump.conf means: one frozen `Config`, or the list of all that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from sender.conf.collector import DEFAULT as DEFAULT_COLLECTOR
from sender.conf.collector import Collector, check_for, parse_collector, swapped
from sender.conf.grammar import Line, Problem, read_lines
from sender.conf.options import BY_NAME, Option, Repeat
from sender.conf.targets import KINDS, BadValueError, Local, Nfs, Ssh, Target
from sender.failure import ConfError

DEFAULT_PATH = "/var/crash"
DEFAULT_KEY = "/root/.ssh/kdump_id_rsa"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything kdump.conf can say, with what holds where it says nothing."""

    source: str = "kdump.conf"
    targets: tuple[Target, ...] = (Local(),)
    path: str = DEFAULT_PATH
    collector: Collector = field(default_factory=lambda: parse_collector(DEFAULT_COLLECTOR))
    disk_timeout: int = 180
    link_delay: int = 0
    kdump_pre: str = ""
    kdump_post: str = ""
    kdump_emergency: str = ""
    extra_bins: tuple[str, ...] = ()
    extra_modules: tuple[str, ...] = ()
    options: tuple[tuple[str, ...], ...] = ()
    blacklist: tuple[str, ...] = ()
    sshkey: str = ""
    failure_action: str = "reboot"
    final_action: str = "reboot"
    debug_mem_level: int = 0
    force_rebuild: bool = False
    force_no_rebuild: bool = False
    fence_kdump_args: tuple[str, ...] = ()
    fence_kdump_nodes: tuple[str, ...] = ()
    dracut_args: tuple[str, ...] = ()
    auto_reset_crashkernel: str = "yes"
    kernel_version: str = ""
    nr_cpus: int = 1
    kexec_args: tuple[str, ...] = ()
    cmdline_remove: tuple[str, ...] = ()
    cmdline_append: tuple[str, ...] = ()
    ssh_compress: str = "auto"
    net_timeout: int = 60
    stall_timeout: int = 120
    capture_timeout: int = 0
    at: dict[str, int] = field(default_factory=dict, compare=False)  # word -> its line, for later errors

    @property
    def needs_network(self) -> bool:
        """Whether anything in it can only be done over the network."""
        return bool(self.fence_kdump_nodes) or any(isinstance(t, (Ssh, Nfs)) for t in self.targets)

    @property
    def ssh_targets(self) -> tuple[Ssh, ...]:
        """The ssh targets in their order."""
        return tuple(t for t in self.targets if isinstance(t, Ssh))

    def problem(self, word: str, what: str, instead: str, fatal: bool = True) -> Problem:
        """A problem found later, at the line that said ``word``."""
        return Problem(self.source, self.at.get(word, 1), what, instead, fatal)


@dataclass(frozen=True, slots=True)
class Reading:
    """A file read to its end: ``config`` is None when a problem is fatal."""

    config: Config | None
    problems: tuple[Problem, ...]

    def require(self) -> Config:
        """The config.

        Raises:
            ConfError: with every fatal problem, a line each.
        """
        if self.config is None:
            raise ConfError("\n".join(str(p) for p in self.problems if p.fatal))
        return self.config


def read_text(text: str, source: str = "kdump.conf") -> Reading:
    """Read a whole kdump.conf. Any text at all gives a `Reading`, never an exception."""
    lines, broken = read_lines(text, source)
    problems = list(broken)
    said: list[tuple[Line, Option, Any]] = []
    for line in lines:
        if not line.name or any(p.line == line.number for p in broken):
            continue
        option = BY_NAME.get(line.name)
        if option is None:
            problems.append(
                Problem(source, line.number, f"Invalid kdump config option {line.name}", _near(line.name))
            )
            continue
        try:
            value = option.parse(line.value)
        except BadValueError as error:
            what = f"Invalid kdump config value for option '{line.name}': {error.what}"
            problems.append(Problem(source, line.number, what, error.instead))
            continue
        if option.deprecated:
            what = f"'{line.name}' is deprecated"
            problems.append(Problem(source, line.number, what, option.deprecated, fatal=False))
        said.append((line, option, value))
    config, more = _combine(said, source)
    problems += more
    problems.sort(key=lambda p: p.line)
    fatal = any(p.fatal for p in problems)
    return Reading(None if fatal else config, tuple(problems))


def read_file(path: Path) -> Reading:
    """Read the file; what is not text in it becomes a problem.

    Raises:
        ConfError: there is no such file, or it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise ConfError(
            f"Error: No kdump config file found! {path}: write one, or start from the sample"
        ) from error
    except OSError as error:
        raise ConfError(f"{path}: {error.strerror}; make it readable for root") from error
    return read_text(text, str(path))


def _combine(said: Iterable[tuple[Line, Option, Any]], source: str) -> tuple[Config, list[Problem]]:
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    at: dict[str, int] = {}
    first: list[tuple[Line, Target]] = []
    later: list[Target] = []
    for line, option, value in said:
        if option.name in KINDS:
            first.append((line, cast(Target, value)))
        elif option.name == "fallback":
            later.append(cast(Target, value))
        elif option.repeat is Repeat.APPEND:
            added = (value,) if option.name == "options" else tuple(value)
            values[option.name] = values.get(option.name, ()) + added
        elif option.name in values:
            what = (
                f"Duplicated kdump config value of option {option.name} (line {at[option.name]} has it, too)"
            )
            problems.append(Problem(source, line.number, what, "keep one of them"))
        else:
            values[option.name] = value
        at.setdefault(option.name, line.number)
    for line, _ in first[1:]:
        what = f"More than one dump targets specified (line {first[0][0].number} has `{first[0][0].name}`)"
        instead = f"to try it after that one, write `fallback {line.name} {line.value}`"
        problems.append(Problem(source, line.number, what, instead))
    fields: dict[str, Any] = {
        name: value for name, value in values.items() if name in Config.__dataclass_fields__
    }
    if "core_collector" in values:
        fields["collector"] = values["core_collector"]
    fields.update(_actions(values))
    for name in ("force_rebuild", "force_no_rebuild"):
        fields[name] = bool(values.get(name, 0))
    config = replace(
        Config(source=source, targets=(first[0][1] if first else Local(), *later), at=at),
        **fields,
    )
    problems += _conflicts(config, values)
    return config, problems


def _actions(values: dict[str, Any]) -> dict[str, str]:
    """RHEL 6's ``default halt|poweroff`` also holds after success; ``failure_action`` never does."""
    old = values.get("default", "reboot")
    failure = values.get("failure_action", old)
    final = values.get("final_action", old if old in ("halt", "poweroff") else "reboot")
    return {"failure_action": failure, "final_action": final}


def _conflicts(config: Config, values: dict[str, Any]) -> Iterable[Problem]:
    if config.force_rebuild and config.force_no_rebuild:
        what = "force_rebuild and force_no_rebuild are enabled simultaneously in kdump.conf"
        yield config.problem("force_no_rebuild", what, "keep one of them")
    if values.get("default", config.failure_action) != config.failure_action:
        what = f"default says {values['default']} and failure_action says {config.failure_action}"
        yield config.problem("failure_action", what, "keep failure_action only")
    for target in config.targets:
        error = check_for(config.collector, target)
        if error and (target is config.targets[0] or not swapped(config.collector, target)):
            yield config.problem("core_collector", f"{error.what} (`{target}`)", error.instead)
    if config.fence_kdump_args and not config.fence_kdump_nodes:
        what = "fence_kdump_args without fence_kdump_nodes sends nothing"
        yield config.problem("fence_kdump_args", what, "add fence_kdump_nodes, or remove it", fatal=False)
    overlap = sorted(set(config.blacklist) & set(config.extra_modules))
    if overlap:
        what = f"{', '.join(overlap)} is in extra_modules and in blacklist"
        yield config.problem("blacklist", what, "remove it from one of them")
    for place, target in enumerate(config.targets):
        if target in config.targets[:place]:
            yield config.problem("fallback", f"`{target}` stands twice", "name another place")


def _near(name: str) -> str:
    """The words that look like it."""
    close = difflib.get_close_matches(name, BY_NAME, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else "see `kdump show --words` for those there are"
