"""For all tests: Ctrl-C works in the processes they start, even if the suite itself runs in the background."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `make test &` leaves it
    signal.signal(signal.SIGINT, signal.default_int_handler)
