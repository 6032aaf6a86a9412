"""check, show, set, unset, import: kdump.conf read, told and edited."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from sender.conf.edit import set_word, unset_word
from sender.conf.foreign import READERS, assignments, family
from sender.conf.model import Config, read_text
from sender.conf.options import BY_NAME, OPTIONS
from sender.conf.targets import Target
from sender.failure import CONFIG, ConfError, Failure, NotPossible
from sender.image.build import image_path, plan_for
from sender.image.facts import gather
from sender.kernel.reserved import advice, crash_ranges
from sender.verbs.session import Session, kexec_attempts, version_of


def check(session: Session, deep: bool = True) -> int:
    """Say every problem of the file, and with ``deep`` of what it names here. 0, or 78 with a fatal one."""
    reading = session.reading()
    for problem in reading.problems:
        session.say(str(problem))
    if reading.config is None:
        return CONFIG
    if deep:
        try:
            _, warnings = gather(session.host, reading.config)
        except Failure as failure:
            session.say(str(failure))
            return CONFIG
        for warning in warnings:
            session.say(f"{session.conf}: warning: {warning}")
    session.say(f"{session.conf}: {'good' if not reading.problems else 'usable'}")
    return 0


def show(session: Session, as_json: bool = False) -> int:
    """The effective plan: every value, the kexec call, what the capture kernel will do in which order."""
    config = session.config()
    version = version_of(session, config)
    facts, warnings = gather(session.host, config)
    plan = plan_for(config, facts)
    state = session.reserved()
    line = session.cmdline(config)
    try:
        calls = [
            " ".join(attempt.argv)
            for attempt in kexec_attempts(session, config, image_path(session.host, version))
        ]
    except NotPossible as failure:
        calls = []
        warnings = (*warnings, str(failure))
    if as_json:
        value = {
            "config": _plain(config),
            "reserved": asdict(state),
            "kernel": version,
            "cmdline": asdict(line),
            "kexec": calls,
            "network": facts.network.arguments,
            "addresses": dict(facts.addresses),
            "image": {"needs": asdict(plan.needs), "files": sorted(entry.path for entry in plan.entries)},
            "warnings": list(warnings),
        }
        session.say(json.dumps(value, indent=2, default=str))
        return 0
    session.say(f"kdump.conf    {session.conf}")
    for name, said in _plain(config).items():
        session.say(f"  {name:<24}{said}")
    lacking = advice(state, session.host.machine)
    ranges = crash_ranges(session.host.read("/proc/iomem") or "")
    where = "".join(f" at {first:#x}" for first, last in ranges if last)
    session.say(f"reserved      {state.size >> 20} MiB{where}" + (f"; {lacking}" if lacking else ""))
    session.say(f"loaded        {'yes' if state.loaded else 'no'}")
    session.say(f"removed       {' '.join(line.removed) or '-'}")
    session.say(f"appended      {' '.join(line.appended)}")
    for number, call in enumerate(calls):
        session.say(f"{'kexec' if number == 0 else '  else':<14}{call}")
    session.say(f"network       {' '.join(facts.network.arguments) or '-'}")
    session.say(f"image         {image_path(session.host, version)}")
    session.say(f"  dracut      {' '.join(plan.needs.modules)}")
    session.say(f"  programs    {' '.join(plan.needs.programs)}")
    session.say("capture")
    for step in _steps(config):
        session.say(f"  {step}")
    for warning in warnings:
        session.warn(warning)
    return 0


def words(session: Session) -> int:
    """The table of every word kdump.conf may hold."""
    for option in OPTIONS:
        old = " (deprecated)" if option.deprecated else ""
        session.say(f"{option.name + ' ' + option.takes:<40} {option.says}{old} [{option.since}]")
    return 0


def change(session: Session, name: str, value: str | None, add: bool = False) -> int:
    """Write one word, or with None take it out; refused where the file would no longer be obeyed."""
    if name not in BY_NAME:
        raise ConfError(f"Invalid kdump config option {name}; see `kdump show --words`")
    path = session.host.path(session.conf)
    try:
        old = path.read_text()
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        old, mode = "", 0o644
    new = unset_word(old, name) if value is None else set_word(old, name, value, add)
    broken = read_text(old, session.conf).config is None
    reading = read_text(new, session.conf)
    if reading.config is None and not (broken and value is None):
        raise ConfError(
            "\n".join([str(p) for p in reading.problems if p.fatal] + [f"{session.conf} is unchanged"])
        )
    session.host.write(session.conf, new.encode(), mode)
    session.say(f"{session.conf}: {name} {value if value is not None else 'removed'}")
    return 0


def import_settings(session: Session, file: str, write: bool) -> int:
    """Read Debian's or SUSE's settings; print the kdump.conf they mean, or write it.

    Raises:
        ConfError: the file is neither, or what it says cannot be said here.
    """
    try:
        values = assignments(Path(file).read_text(errors="replace"))
    except OSError as error:
        raise ConfError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise ConfError(f"{file}: {error}") from error
    whose = family(values)
    if not whose:
        raise ConfError(f"{file}: neither Debian's /etc/default/kdump-tools nor SUSE's /etc/sysconfig/kdump")
    try:
        imported = READERS[whose](values)
    except ValueError as error:
        raise ConfError(f"{file}: {error}") from error
    text = f"# imported from {file}\n" + "".join(f"{line}\n" for line in imported.lines)
    reading = read_text(text, session.conf)
    for note in imported.notes:
        session.warn(f"{file}: {note}")
    for problem in reading.problems:
        session.warn(str(problem))
    if reading.config is None:
        raise ConfError(f"{file}: not all of it can be said in kdump.conf; see above, nothing was written")
    if write:
        session.host.write(session.conf, text.encode(), 0o644)
        session.say(f"{session.conf}: written from {file}")
    else:
        session.say(text.rstrip("\n"))
    return 0


def _plain(config: Config) -> dict[str, str]:
    """Every field in the words of kdump.conf."""
    said: dict[str, str] = {"targets": ", then ".join(_target(t) for t in config.targets)}
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if name in ("source", "targets", "at"):
            continue
        if name == "collector":
            said["core_collector"] = " ".join(value.words)
        elif isinstance(value, tuple):
            said[name] = "; ".join(" ".join(v) if isinstance(v, tuple) else str(v) for v in value) or "-"
        else:
            said[name] = str(value) if value != "" else "-"
    return said


def _target(target: Target) -> str:
    kind = {"Ssh": "ssh ", "Nfs": "nfs ", "Raw": "raw "}.get(type(target).__name__, "")
    return f"{kind}{target}" + (f" {target.path}" if target.path else "")


def _steps(config: Config) -> list[str]:
    steps = []
    if config.fence_kdump_nodes:
        steps.append(f"tell {' '.join(config.fence_kdump_nodes)} by fence_kdump, in the background")
    if config.kdump_pre:
        steps.append(f"run {config.kdump_pre}; not 0: {config.final_action} without a dump")
    if config.link_delay:
        steps.append(f"wait {config.link_delay} s (link_delay)")
    steps += [f"save vmcore-dmesg.txt and vmcore to {_target(t)}" for t in config.targets[:1]]
    steps += [f"or else to {_target(t)}" for t in config.targets[1:]]
    if config.kdump_post:
        steps.append(f"run {config.kdump_post} with the status of the dump")
    steps.append("save kexec-dmesg.log")
    steps.append(f"saved: {config.final_action}; not saved: {config.failure_action}")
    return [f"{number}. {step}" for number, step in enumerate(steps, 1)]
