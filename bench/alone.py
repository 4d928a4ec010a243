# SPDX-License-Identifier: Apache-2.0
"""Run one command and write down what it took: ``python -IS alone.py FILE-DESCRIPTOR SECONDS COMMAND...``.

This is a program of its own, and imports little, because the kernel counts the memory of a process that starts another
into the peak of the other. The command gets the standard streams; after so many seconds it is killed.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

place, limit, *command = sys.argv[1:]
start = time.perf_counter()
process = subprocess.Popen(command)
timer = threading.Timer(float(limit), process.kill)
timer.start()
try:
    code = process.wait()
finally:
    timer.cancel()
wall = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
late = code == -signal.SIGKILL and wall >= float(limit)
report = [wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, code, late]
os.write(int(place), json.dumps(report).encode())
