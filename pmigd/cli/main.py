"""pmigctl's entry: from arguments to an exit code, with no traceback on the way.

Nothing is imported here that a run may not need; the parser is built only when it is used.
"""

from __future__ import annotations

import contextlib
import os
import sys

from pmigd.cli import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def program() -> None:
    """``pmigctl``: like :func:`main`, and ends the process at once.

    Taking the interpreter down in good order costs 10 ms, and there is nothing in it to tidy up.
    """
    code = main()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage raises SystemExit(2)."""
    _prepare_streams()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("pmigctl: interrupted", file=sys.stderr)
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader went away. Let the interpreter's last flush go where it cannot fail.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    except OSError as error:
        print(f"pmigctl: cannot write the answer: {error.strerror or error}", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OUTPUT
    except Exception as error:
        # The rim: a fault of ours must not look like a verdict on a migration.
        if os.environ.get("PMIGCTL_DEBUG"):
            raise
        print(
            f"pmigctl: internal error: {type(error).__name__}: {error}\n"
            "  remedy: please report it, with what PMIGCTL_DEBUG=1 shows",
            file=sys.stderr,
        )
        return exits.INTERNAL
    return code


def _run(argv: list[str]) -> int:
    if "_complete" in argv:
        from pmigd.cli import candidates

        return candidates.run(argv)
    from pmigd.cli import parser

    args = parser.build().parse_args(argv)

    from pmigd.cli.output import Output
    from pmigd.client.blocking import Client
    from pmigd.client.errors import ClientError, UnreachableError

    output = Output(json_wanted=args.json)
    try:
        code: int = args.run(args, Client(args.socket), output)
    except ClientError as error:
        output.problem(error.problem)
        return exits.UNREACHABLE if isinstance(error, UnreachableError) else exits.REFUSED
    return code


def _prepare_streams() -> None:
    """Keep a closed stream or an old encoding from failing a command that worked."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    raise SystemExit(main())
