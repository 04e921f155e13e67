"""The reference of the command line, from the grammar of the parser."""

from __future__ import annotations

import argparse
import re

from generators.text import code, escaped, sentence, table


def cli_page(top: argparse.ArgumentParser) -> str:
    """Usage and options of each command."""
    (commands,) = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    about = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    parts = ["# Command line", f"`gantlet COMMAND`, or `python -m benchmark COMMAND`. {escaped(top.description or '')}"]
    parts.append(
        table(["command", "what it does"], ([f"[{name}](#gantlet-{name})", escaped(about[name])] for name in about))
    )
    for name, command in commands.choices.items():
        usage = re.sub(r"\s+", " ", command.format_usage().removeprefix("usage: ")).strip()
        options = [a for a in command._actions if not isinstance(a, argparse._HelpAction)]
        rows = [[code(option_names(a)), escaped(help_of(a, command))] for a in options]
        parts += [f"## gantlet {name}", f"{escaped(sentence(about[name]))}", f"```text\n{wrapped(usage)}\n```"]
        parts += [table(["option", "meaning"], rows)] if rows else []
    return "\n\n".join(parts)


def option_names(action: argparse.Action) -> str:
    """`--seed N [N ...]`, or the name of a positional argument."""
    value = action.metavar or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    shown = "" if action.nargs == 0 else value + (" ..." if action.nargs == "+" else "")
    return f"{', '.join(action.option_strings)} {shown}".strip() if action.option_strings else shown


def help_of(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    """The help of an option, with its placeholders filled in; said to be required where it is."""
    text = command._get_formatter()._expand_help(action) if action.help else ""
    if action.choices:
        text = f"{sentence(text)} One of `{'`, `'.join(map(str, action.choices))}`."
    return f"{text} (required)".strip() if action.required and action.option_strings else text


def wrapped(usage: str, width: int = 96) -> str:
    """A usage line, broken between options."""
    lines = [""]
    for word in re.findall(r"\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|\S+", usage):
        if len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join(lines)
