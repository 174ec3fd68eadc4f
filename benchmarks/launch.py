"""``python launch.py ACCOUNT.json COMMAND...``: run a command and note its wall seconds, peak memory and exit code.

In a small process of its own, because Linux counts the memory of whoever starts a process towards its peak.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
account = {
    "seconds": time.perf_counter() - start,
    "peak_bytes": usage.ru_maxrss * 1024,
    "code": os.waitstatus_to_exitcode(status),
}
Path(sys.argv[1]).write_text(json.dumps(account), encoding="utf-8")
