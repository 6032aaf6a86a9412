#!/usr/bin/env python3
"""The man pages, made from the programs themselves and the prose of pages.toml.

    make.py            write them beside this file
    make.py --check    exit status 1, and say which, where they are not what would be written

Commands and options come from the click commands and from the agent's table; the settings from the model
and the comments of the sample file. A new verb, option or setting needs nothing here.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import roff

HERE = Path(__file__).parent
TOP = HERE.parent.parent


def page(about: dict[str, Any]) -> str:
    """One page, whole."""
    name, section = about["name"], about["section"]
    date = about["date"]
    lines = [
        '.\\" Made by docs/man/make.py: change the program or docs/man/pages.toml, then `make man`.',
        f'.TH {name.upper()} {section} "{date}" "kdump-net {version("kdump-net")}" "kdump-net"',
        ".SH NAME",
        rf"{roff.plain(name)} \- {roff.words(about['title'])}",
        ".SH SYNOPSIS",
        *synopsis(about),
        ".SH DESCRIPTION",
        *roff.paragraphs(about["description"]),
    ]
    if "click" in about:
        lines += command(about["click"], name)
    if "options" in about:
        lines += [".SH OPTIONS", *roff.definitions(table(about["options"]))]
    if "settings" in about:
        lines += [".SH SETTINGS", *roff.definitions(settings(about["settings"]))]
    for heading, text in about.get("sections", {}).items():
        lines += [f".SH {heading.upper()}", *roff.paragraphs(text)]
    lines += [".SH SEE ALSO", see_also(about["see"])]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def synopsis(about: dict[str, Any]) -> Iterator[str]:
    for number, line in enumerate(about["synopsis"]):
        if number:
            yield ".br"
        program, _, rest = line.partition(" ")
        yield rf"\fB{roff.plain(program)}\fR {roff.option(rest)}"


def see_also(names: list[str]) -> str:
    return ",\n".join(re.sub(r"^(.*)\((\w+)\)$", r"\\fB\1\\fR(\2)", roff.plain(name)) for name in names)


def load(where: str) -> Any:
    """What ``package.module:name`` stands for."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def command(where: str, name: str) -> Iterator[str]:
    """Options, and each verb with its own."""
    top: click.Group = load(where)
    context = click.Context(top, info_name=name)
    if entries := list(options(top, context)):
        yield from (".SH OPTIONS", *roff.definitions(entries))
    yield ".SH COMMANDS"
    for verb, path in verbs(top, context):
        yield f".SS {roff.plain(path.command_path.removeprefix(name + ' '))} {usage(verb, path)}"
        yield from roff.paragraphs(_help(verb))
        yield from roff.definitions(options(verb, path))


def verbs(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every verb that can be called, those of groups as ``token create``."""
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        if verb is None or verb.hidden:
            continue
        inner = click.Context(verb, info_name=name, parent=context)
        if isinstance(verb, click.Group):
            yield from verbs(verb, inner)
        else:
            yield verb, inner


def usage(verb: click.Command, context: click.Context) -> str:
    return " ".join(roff.option(word) for word in verb.collect_usage_pieces(context)[1:])  # not [OPTIONS]


def options(verb: click.Command, context: click.Context) -> Iterator[tuple[list[str], str]]:
    for parameter in verb.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            yield [roff.option(record[0])], record[1]


def _help(verb: click.Command) -> str:
    """The docstring as click understands it, or the short text of those that have none."""
    text = verb.help or verb.short_help or ""
    return inspect.cleandoc(text.split("\f")[0])


def table(where: str) -> Iterator[tuple[list[str], str]]:
    """Options of programs that do not load click: a table of rows, or a usage text."""
    found = load(where)
    if isinstance(found, str):
        yield from _of_usage(found)
        return
    for row in found:
        flag = f"--{row.flag}" + (f"={row.metavar}" if row.metavar else "")
        said = f"{'[deprecated] ' if row.deprecated else ''}{row.text}"
        said += f" One of {', '.join(row.choices)}." if row.choices else ""
        said += f" Default: {row.default}." if row.default else ""
        key = f"On standard input: `{row.key}`." if row.metavar else ""
        yield [roff.option(f"-{row.letter}, {flag}" if row.letter else flag)], f"{said} {key}".strip()


def _of_usage(text: str) -> Iterator[tuple[list[str], str]]:
    for found in re.finditer(r"^ +((?:-\w, )?--\S+) {2,}(.+)$", text, re.MULTILINE):
        yield [roff.option(found[1])], found[2]


KEY = re.compile(r"^(?:# )?(\[\[?[\w.]+\]?\]|\w+ = .*)$")


def settings(about: dict[str, str]) -> Iterator[tuple[list[str], str]]:
    """Each block of the sample file: its keys with default and bounds, its comment."""
    model = load(about["model"])
    defaults = model().model_dump(mode="json")
    sample = (TOP / about["sample"]).read_text()
    for block in sample.split("\n\n"):
        lines = block.strip("\n").split("\n")
        keys = [found[1] for line in lines if (found := KEY.match(line))]
        text = [line.removeprefix("#").removeprefix(" ") for line in lines if not KEY.match(line)]
        if keys and keys[0].split(" = ")[0] in defaults:
            shown = [_key(model, line, defaults) for line in keys if line.split(" = ")[0] in defaults]
            yield shown, " ".join(text) or "."
        elif keys:  # a table of its own: shown as it is written
            example = "\n".join(f"    {line.removeprefix('# ')}" for line in lines if KEY.match(line))
            yield [rf"\fB{roff.plain(keys[0])}\fR"], f"{' '.join(text)}\n\n{example}"


def _key(model: Any, line: str, defaults: dict[str, Any]) -> str:
    key = line.split(" = ")[0]
    value = defaults[key]
    size = re.fullmatch(r'\w+ = ("\d+[KMGTP]")', line)  # the sample's own word for it is easier to read
    shown = size[1] if size else "none" if value is None else json.dumps(value)
    bounds = {
        kind: getattr(rule, kind)
        for rule in model.model_fields[key].metadata
        for kind in ("ge", "gt", "le", "lt")
        if getattr(rule, kind, None) is not None
    }
    least = bounds.get("ge", f"more than {bounds['gt']}" if "gt" in bounds else None)
    most = bounds.get("le", f"less than {bounds['lt']}" if "lt" in bounds else None)
    span = f"; {least} to {most}" if least is not None and most is not None else ""
    return rf"\fB{roff.plain(key)}\fR ({roff.plain(shown + span)})"


def main() -> int:
    """Write the pages, or compare them."""
    described = tomllib.loads((HERE / "pages.toml").read_text())
    stale = 0
    for about in described["page"]:
        path = HERE / f"{about['name']}.{about['section']}"
        made = page({"date": described["date"], **about})
        if "--check" not in sys.argv:
            path.write_text(made)
        elif not path.exists() or path.read_text() != made:
            print(f"{path.relative_to(TOP)} is not what the program says today: make man", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
