"""The `potluck` command: what people type, and the only place where an error becomes a red sentence.

Rules: a command's module imports at its top only what its options need; the rest when it runs. Exit status 0 is
done, 1 is a sentence on stderr, 2 is a mistake in the command line, 130 is Ctrl-C. A traceback is shown to whoever
asks for it with POTLUCK_DEBUG=1, and to nobody else.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The entry point of the package."""
    from potluck.cli.tree import root
    from potluck.errors import PotluckError

    try:
        root(prog_name="potluck")  # also for `python -m potluck`
    except PotluckError as error:
        _fail(str(error) or error.code, error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `potluck providers | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _fail(f"{error}. Check the path, its permissions and the disk.", error)
    except Exception as error:
        _fail(
            f"Potluck failed in a way it must not ({type(error).__name__}: {error}). Run it again with "
            "POTLUCK_DEBUG=1 and report what it prints; `potluck doctor` may know more.",
            error,
        )


def _fail(sentence: str, error: Exception) -> None:
    from potluck.cli.show import problem

    if os.environ.get("POTLUCK_DEBUG"):
        raise error
    problem(sentence)
    sys.exit(1)
