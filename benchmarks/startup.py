"""How long `understudy --help` takes, warm: the median of 20 starts and the slowest. The aim is 0.3 s.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time


def main() -> None:
    seconds = []
    for _ in range(21):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "understudy", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    warm = seconds[1:]
    print(f"understudy --help: median {statistics.median(warm):.3f} s, slowest {max(warm):.3f} s of {len(warm)}")


if __name__ == "__main__":
    main()
