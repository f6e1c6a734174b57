import subprocess
import sys

ASKED = """
from experiments.archive.engine import engine
with engine() as connection:
    print(connection.execute("SELECT current_setting('enable_progress_bar')").fetchone())
"""


def test_an_answer_that_takes_its_time_prints_nothing_by_itself() -> None:
    # The engine draws a bar wherever it finds no file that is run, as here.
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert done.stdout == "(False,)\n"
