"""Find out whether a migration would go well, without starting anything.

Takes whatever migrate takes. Every check is made, so that everything there is to do is seen at
once: block would keep it from starting, warn may make it go badly, info is good to know. Exit code
3 when something blocks, otherwise 0.
"""

from __future__ import annotations

from pmigd.cli import exits, options
from pmigd.cli.command import Command
from pmigd.cli.output import groups, one_line
from pmigd.cli.words import in_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

_EPILOG = """\
examples:
  pmigctl check web1 hostb --tls --copy-storage-all
  pmigctl --json check web1 hostb | jq -r '.findings[] | select(.level == "block") | .code'
"""

_LEVELS = ("block", "warn", "info")
_INDENT = " " * (max(map(len, _LEVELS)) + 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_route(parser)
    options.add(parser, options.CHECK)


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask and show. Raises ClientError."""
    wanted = options.body(args, options.CHECK)
    answer = client.post("/v1/check", wanted)
    said = answer.get("findings")
    findings = [f for f in said if isinstance(f, dict)] if isinstance(said, list) else []
    blocking = sum(f.get("level") == "block" for f in findings)
    ready = not blocking and answer.get("ready") is not False
    if output.json:
        output.object(answer)
    else:
        _show(output, findings)
        prediction = answer.get("prediction")
        if isinstance(prediction, dict) and prediction:
            for text in groups({"prediction": prediction}):
                output.line(text)
        route = f"{one_line(args.domain)}->{one_line(args.destination)}"
        verdict = "ready" if ready else "not ready"
        output.line(f"{route}: {verdict}" + (f", {blocking} to mend" if blocking else ""))
    return exits.SUCCEEDED if ready else exits.REFUSED


def _show(output: Output, findings: list[JsonObject]) -> None:
    """The findings, the gravest first: one line each, and below it what can be done."""
    for finding in sorted(findings, key=_gravity):
        level = one_line(finding.get("level") or "?")
        detail = in_options(one_line(finding.get("detail") or ""))
        text = f"{one_line(finding.get('code') or '?')}: {detail}"
        output.headed(level, text, width=len(_INDENT))
        flags = options.flags_of(str(finding.get("field")), options.CHECK)
        if flags:
            output.line(f"{_INDENT}option: {', '.join(flags)}")
        if finding.get("remedy"):
            output.line(f"{_INDENT}remedy: {in_options(one_line(finding['remedy']))}")


def _gravity(finding: JsonObject) -> int:
    level = finding.get("level")
    return _LEVELS.index(level) if level in _LEVELS else len(_LEVELS)


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=options.UNITS + _EPILOG,
    usage="DOMAIN DESTINATION [option ...]",
)
