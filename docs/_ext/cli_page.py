"""The command line, from its own parser."""

import click
import typer

from bijecta.cli.app import app


def cli_page() -> str:
    """Make the page of all commands, with every option and default."""
    root = typer.main.get_command(app)
    context = click.Context(root, info_name="bijecta")
    lines = ["# Command line", "", f"{root.help}", "", f"{root.epilog}", ""]
    return "\n".join([*lines, *_commands(root, context, 2)]) + "\n"


def _commands(group: click.Command, context: click.Context, depth: int) -> list[str]:
    lines: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = click.Context(command, info_name=name, parent=context)
        lines += [f"{'#' * depth} {inner.command_path}", "", (command.help or "").replace("\b", ""), ""]
        if hasattr(command, "list_commands"):
            lines += _commands(command, inner, depth + 1)
        else:
            lines += ["```text", " ".join([inner.command_path, *command.collect_usage_pieces(inner)]), "```", ""]
            lines += _parameters(command, inner)
    return lines


def _parameters(command: click.Command, context: click.Context) -> list[str]:
    records = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    if not records:
        return []
    rows = [f"| `{_escaped(left)}` | {_escaped(right)} |" for left, right in records]
    return ["| | |", "|---|---|", *rows, ""]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("*", "\\*")
