"""Runs the Python blocks of a page one after the other, in one namespace.

A line of stdin is a JSON string, a block; a line of stdout is what it printed and its traceback.
"""

import contextlib
import io
import json
import sys
import traceback

if __name__ == "__main__":
    answers, names = sys.stdout, {"__name__": "__main__"}
    for line in sys.stdin:
        printed, failed = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(json.loads(line), "<block>", "exec"), names)
            except BaseException:  # noqa: BLE001 - told to who asked
                failed = traceback.format_exc()
        print(json.dumps([printed.getvalue(), failed]), file=answers, flush=True)
