"""What ends the threads and processes of a loader: Ctrl-C, a signal, an error."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs in the background without it
import numpy as np
from polymodel.data import ArrayDataset, Loader

def slow(image):
    time.sleep(0.02)
    return image

if __name__ == "__main__":
    data = ArrayDataset(np.zeros((4000, 4, 4, 3), np.uint8), np.zeros(4000))
    loader = Loader(data, 8, transforms=[slow], workers=2, processes=sys.argv[1] == "processes")
    try:
        for number, batch in enumerate(loader):
            if number == 2:
                print("going", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise SystemExit(7)
"""


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_ctrl_c(tmp_path: Path, kind: str) -> None:
    """It reaches the loop, and everything ends at once, without words of the workers."""
    (tmp_path / "slow.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (7, "interrupted\n", "")
    assert time.monotonic() - began < 20


INTERRUPTED = """
import random, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.setswitchinterval(1e-6)  # threads meet inside each other's locks far oftener
import numpy as np
from polymodel.data import ArrayDataset, Loader

data, delays = ArrayDataset(np.zeros((4000, 2), np.float32), np.zeros(4000)), random.Random(0)
for _ in range(1500):
    with Loader(data, 1, workers=2) as loader:
        batches = iter(loader)
        next(batches)
        try:
            threading.Timer(delays.uniform(0, 0.004), signal.raise_signal, [signal.SIGINT]).start()
            for batch in batches:
                pass
            threading.Event().wait()
        except KeyboardInterrupt:
            batches.close()
print("interrupted")
"""


def test_ctrl_c_leaves_no_lock_taken() -> None:
    """Wherever it comes, the workers end: with a pool of concurrent.futures, one of these many waited for ever."""
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "interrupted\n", "")


KILLED = """
import os, signal
import numpy as np
from polymodel.data import ArrayDataset, Loader
from polymodel.errors import DataError

def deadly(image):
    if image[0, 0, 0] == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return image

if __name__ == "__main__":
    x = np.zeros((40, 4, 4, 3), np.uint8)
    x[30] = 9
    with Loader(ArrayDataset(x, np.arange(40)), 4, transforms=[deadly], shuffle=False, workers=2, processes=True) as loader:
        for number in range(2):
            seen = []
            try:
                for _, y in loader.batches(number):
                    seen += y.tolist()
            except DataError as error:
                print(seen == list(range(28)), str(error)[:77])
"""


def test_a_process_that_is_killed_is_named_and_the_next_pass_has_others(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    ran = subprocess.run([sys.executable, str(tmp_path / "killed.py")], capture_output=True, text=True, timeout=120)
    line = "True a process that prepares batches has ended (exit code -9): -9 is often memory,\n"
    assert (ran.stdout, ran.stderr) == (2 * line, "")


def test_a_script_that_starts_itself_again_is_told_how_not_to(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "import numpy as np\nfrom polymodel.data import ArrayDataset, Loader\n"
        "next(iter(Loader(ArrayDataset(np.zeros((4, 2)), np.zeros(4)), 2, workers=1, processes=True)))\n"
    )
    ran = subprocess.run([sys.executable, str(tmp_path / "plain.py")], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1
    assert 'a script without `if __name__ == "__main__":`' in ran.stderr


ERRORS = """
import sys
import numpy as np
from polymodel.data import ArrayDataset, Loader

class Unsent(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
        self.held = lambda: 0

def wrong(image):
    raise ValueError("a bug") if sys.argv[1] == "plain" else Unsent(1, 2)

if __name__ == "__main__":
    images = ArrayDataset(np.zeros((4, 2, 2, 3), np.uint8), np.zeros(4))
    with Loader(images, 2, transforms=[wrong], workers=1, processes=True) as loader:
        try:
            next(iter(loader))
        except Exception as error:
            print(type(error).__name__, "a bug" in str(error), "1 and 2" in str(error), "in wrong" in str(error.__notes__))
"""


@pytest.mark.parametrize(("kind", "words"), [("plain", "ValueError True False True"), ("unsent", "DataError False True True")])
def test_an_error_in_a_process_says_where(tmp_path: Path, kind: str, words: str) -> None:
    """It is the error of the function; one that cannot be sent is told in words."""
    (tmp_path / "wrong.py").write_text(ERRORS)
    ran = subprocess.run([sys.executable, str(tmp_path / "wrong.py"), kind], capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.stderr) == (words + "\n", "")
