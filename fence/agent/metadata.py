"""``action=metadata``: what the agent says of itself, in the XML that Pacemaker, pcs and crmsh read.

Source: fence-agents lib/metadata.rng (on Debian /usr/share/cluster/relaxng/metadata.rng).
There is no ``reboot`` action: the agent switches nothing off, and Pacemaker asks for ``off`` in its place.
"""

from __future__ import annotations

from fence.agent.options import OPTIONS, Option

# Not ``list`` and ``list-status``, which work all the same. Where an agent says ``list``, a failed one (no
# daemon, or one that is down) means "cannot fence this node" to Pacemaker 2.1.5, which asks for ``status``
# from the next question on; where just ``status`` is said it asks that at once. Neither needs pcmk_host_list.
ACTIONS = ("off", "monitor", "metadata", "validate-all", "status")

SHORT = "Fencing agent that lets a crashed node finish its kernel dump"
LONG = """\
fence_kdump tells the cluster that a node which stopped answering is in its kdump kernel, writing its
crash dump: it runs none of its services any more and counts as fenced, so that no power fencing
cuts the dump short. The node says so itself, by UDP messages of fence_kdump_send.

The agent switches nothing off. A node that hangs, or lost its power or its network, sends no
message: put a power fencing agent on the next level of the fencing topology.

The off action asks the kdump-fence daemons given by socket and url: they hear all nodes at all times, so
that a message which came before the question counts, and several nodes may crash at once. Where neither
is given the agent listens on the UDP port itself. A message in time is success, none is failure."""


def document(program: str) -> str:
    """The whole XML document for an agent of the name ``program``."""
    parameters = "".join(map(_parameter, OPTIONS))
    actions = "".join(f'\t<action name="{name}" />\n' for name in ACTIONS)
    return (
        '<?xml version="1.0" ?>\n'
        f'<resource-agent name="{_attribute(program)}" shortdesc="{_attribute(SHORT)}">\n'
        f"<longdesc>{_text(LONG)}</longdesc>\n"
        "<vendor-url>https://www.kernel.org/doc/html/latest/admin-guide/kdump/kdump.html</vendor-url>\n"
        f"<parameters>\n{parameters}</parameters>\n"
        f"<actions>\n{actions}</actions>\n"
        "</resource-agent>\n"
    )


def _parameter(option: Option) -> str:
    mixed = f"-{option.letter}, " if option.letter else ""
    mixed += f"--{option.flag}" + (f"={option.metavar}" if option.metavar else "")
    marks = ' deprecated="1"' if option.deprecated else ""
    marks += f' obsoletes="{option.obsoletes}"' if option.obsoletes else ""
    default = f' default="{_attribute(option.default)}"' if option.default else ""
    choices = "".join(f'\t\t\t<option value="{_attribute(choice)}" />\n' for choice in option.choices)
    content = f'\t\t<content type="{option.kind}"{default}'
    content += f">\n{choices}\t\t</content>\n" if choices else " />\n"
    return (
        f'\t<parameter name="{option.key}" unique="0" required="0"{marks}>\n'
        f'\t\t<getopt mixed="{_attribute(mixed)}" />\n'
        f"{content}"
        f'\t\t<shortdesc lang="en">{_text(option.text)}</shortdesc>\n'
        "\t</parameter>\n"
    )


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return _text(text).replace('"', "&quot;")
