import os
import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:  # see agent/__init__.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
