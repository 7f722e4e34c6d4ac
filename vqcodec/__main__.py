"""The program: `vqcodec`, or `python -m vqcodec`."""

import signal
import sys


def main() -> int:
    """Run the command line; the exit code. SIGINT, and a closed reader of standard output, end the process by a signal, as shells
    expect.

    SIGINT gets its default action first: while the command line is imported, there is nothing to clean up and Python would print a
    traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored, in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vqcodec.cli import main as cli
    from vqcodec.runtime.interrupts import die_by

    code = cli.main()
    if code == cli.INTERRUPTED:
        die_by(signal.SIGINT)
    if code == cli.BROKEN_PIPE and hasattr(signal, "SIGPIPE"):
        die_by(signal.SIGPIPE)
    return code


if __name__ == "__main__":
    sys.exit(main())
