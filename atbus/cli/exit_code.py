"""
Have a process of ``twistd`` end with a code of its own.

``twistd`` ends with 0 however its reactor came to a stop, unless a signal stopped it; an exception
in the reactor only makes it print a traceback. So the code is set where every Python program passes
after that: when the interpreter ends, with everything that others wanted done at that moment.
"""

from __future__ import annotations

import atexit
import os
import sys


def exit_with(code: int) -> None:
    """
    End this process, whenever it ends by itself, with a code.

    A signal that kills it before is stronger. To be called late: what is registered with `atexit`
    after this is called twice.

    :param code: 1 to 255.
    """

    def end() -> None:
        atexit.unregister(end)
        # Who registered first is called last: the others are still to come, and would not.
        atexit._run_exitfuncs()  # noqa: SLF001  # there is no other way to be the last
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)

    atexit.register(end)
