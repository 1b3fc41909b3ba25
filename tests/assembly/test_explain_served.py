"""What a served call's explanation takes is imported when somebody asks: `test_explain_calls` holds what it says."""

from __future__ import annotations

import subprocess
import sys


def test_a_proxy_whom_nobody_asks_does_not_load_it() -> None:
    code = "import sys, proxy.server.app; print([name for name in sys.modules if name.startswith('proxy.assembly.explain')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout

    assert loaded.strip() == "['proxy.assembly.explain_calls']"
